//! The ledger in the formats of others.

use serde_json::Value;
use stanch_ledger::{
    Format, Ledger, MemoryLedger, Received, Selection, Trust, export_selection,
    testing::{key, noon_and, received, success},
    verify_export,
};

async fn ledger() -> MemoryLedger {
    let ledger = MemoryLedger::new();
    for n in 0..30 {
        let mut finding = Received::clone(&received(n));
        if n == 3 {
            finding.resource_id = "=HYPERLINK(\"http://x\"), or so".to_owned();
        }
        let id = key(n).remediation_id();
        ledger
            .admit(key(n), finding.into(), noon_and(n))
            .await
            .unwrap();
        if n % 10 == 3 {
            ledger.append(id, 1, success(), noon_and(n)).await.unwrap();
        }
    }
    ledger
        .expire(key(13).remediation_id(), "retention", "old", noon_and(90))
        .await
        .unwrap();
    ledger
}

async fn written(format: Format, selection: &Selection) -> (Vec<u8>, u64) {
    let mut bytes = Vec::new();
    let count = export_selection(&ledger().await, selection, format, &mut bytes)
        .await
        .unwrap();
    (bytes, count)
}

fn of_three() -> Selection {
    Selection {
        account: Some(received(3).account.clone()),
        until: Some(noon_and(23)),
        since: None,
    }
}

#[tokio::test]
async fn a_selection_verifies_and_says_what_it_is() {
    let (text, count) = written(Format::JsonLines, &of_three()).await;
    assert_eq!(count, 2);
    let report = verify_export(&*text, Trust::default()).unwrap();
    assert!(report.holds() && report.selection, "{:?}", report.faults);
    assert_eq!(
        (report.remediations, report.events, report.expired),
        (2, 8 + 9, 8)
    );
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("{\"selection\":{\"until\":\"2026-01-01T12:00:00.146Z\",\"account\":\"000000000003\"}}\n"), "{text}");
    let changed = text.replacen("because", "on a whim", 1);
    let report = verify_export(changed.as_bytes(), Trust::default()).unwrap();
    assert_eq!(report.faults.len(), 1);
    let since = Selection {
        since: Some(noon_and(25)),
        ..Selection::default()
    };
    assert_eq!(written(Format::JsonLines, &since).await.1, 5);
}

#[tokio::test]
async fn rows_are_quoted_and_no_formula_runs() {
    let (text, _) = written(Format::Csv, &of_three()).await;
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 1 + 8 + 9);
    assert!(lines[0].starts_with("number,time,event,remediation_id,seq,account,"));
    assert!(lines[1].contains(",received,"), "{}", lines[1]);
    assert!(
        lines[1].contains(",\"'=HYPERLINK(\"\"http://x\"\"), or so\","),
        "{}",
        lines[1]
    );
    assert!(lines[9].ends_with(','), "it has expired: {}", lines[9]);
}

#[tokio::test]
async fn columns_hold_what_rows_do() {
    let (bytes, _) = written(Format::Parquet, &of_three()).await;
    let [head, tail] = [&bytes[..4], &bytes[bytes.len() - 4..]];
    assert_eq!((head, tail), (&b"PAR1"[..], &b"PAR1"[..]));
    let length = bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap();
    let footer = &bytes[bytes.len() - 8 - u32::from_le_bytes(length) as usize..];
    let footer = String::from_utf8_lossy(footer);
    assert!(footer.contains("remediation_id") && footer.contains("contents"));
    // The first page: the numbers.
    let start = bytes
        .windows(4)
        .position(|four| four == [0x28, 0xb5, 0x2f, 0xfd])
        .unwrap();
    let mut frames = zstd::stream::read::Decoder::new(&bytes[start..])
        .unwrap()
        .single_frame();
    let mut numbers = Vec::new();
    std::io::Read::read_to_end(&mut frames, &mut numbers).unwrap();
    let numbers: Vec<i64> = numbers
        .chunks(8)
        .map(|eight| i64::from_le_bytes(eight.try_into().unwrap()))
        .collect();
    let (text, _) = written(Format::Csv, &of_three()).await;
    let text = String::from_utf8(text).unwrap();
    let rows: Vec<i64> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers, rows);
}

#[tokio::test]
async fn a_remediation_is_a_finding_and_an_activity() {
    let (text, count) = written(Format::Ocsf, &of_three()).await;
    let events: Vec<Value> = String::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len() as u64, count * 2);
    let [finding, activity] = &events[..2] else {
        unreachable!()
    };
    for (event, class, kind) in [(finding, 2003, 200_303), (activity, 7001, 700_104)] {
        assert_eq!(
            (&event["class_uid"], &event["type_uid"]),
            (&class.into(), &kind.into())
        );
        for required in [
            "activity_id",
            "category_uid",
            "metadata",
            "severity_id",
            "time",
        ] {
            assert!(!event[required].is_null(), "{required} of {class}");
        }
    }
    assert_eq!(finding["compliance"]["status_id"], 1);
    assert_eq!(finding["finding_info"]["uid"], received(3).finding_id);
    assert_eq!(activity["status_id"], 1);
    assert_eq!(activity["command_uid"], key(3).remediation_id().to_string());
    assert_eq!(activity["cloud"]["account"]["uid"], "000000000003");
}
