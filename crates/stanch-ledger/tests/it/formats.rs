//! The ledger in the formats of others.

use serde_json::Value;
use stanch_ledger::{
    Format, Ledger, MemoryLedger, Received, Selection, Signer as _, Store as _, Trust,
    export_selection,
    testing::{key, noon_and, received, signer, success},
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

/// Whatever is selected leads to the signature, and nothing else does.
#[tokio::test]
async fn a_selection_proves_itself() {
    let ledger = ledger().await;
    let signed = ledger.checkpoint(&signer()).await.unwrap();
    // What came later is not signed, and not in it.
    ledger
        .admit(key(40), received(40), noon_and(40))
        .await
        .unwrap();
    let signer = signer();
    let trust = Trust {
        key: Some(signer.key()),
        ..Trust::default()
    };
    let since = |at: u64| Selection {
        since: Some(noon_and(at)),
        ..Selection::default()
    };
    let mut written = Vec::new();
    for (selection, count) in [
        (of_three(), 2),
        (since(25), 5),
        (since(0), 30),
        (since(1_000), 0),
        (Selection::default(), 30),
    ] {
        written.clear();
        let part = export_selection(&ledger, &selection, Format::JsonLines, &mut written);
        assert_eq!(part.await.unwrap(), count);
        let report = verify_export(&*written, trust).unwrap();
        assert!(report.holds(), "{:?}", report.faults);
        assert!(report.selection && report.proved && report.signed);
        assert_eq!((report.remediations, report.covered), (count, signed.size));
    }
    written.clear();
    let three = of_three();
    let part = export_selection(&ledger, &three, Format::JsonLines, &mut written);
    part.await.unwrap();
    // The first line says what was asked for.
    let start = written.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for place in (start..written.len() - 1).step_by(13) {
        let mut bytes = written.clone();
        bytes[place] = if bytes[place] == b'7' { b'8' } else { b'7' };
        let report = verify_export(&*bytes, trust).unwrap();
        assert!(!report.holds(), "{}", String::from_utf8_lossy(&bytes));
    }
    // A checkpoint that was kept has to be the same one: a part does not show what came before.
    let older = ledger.checkpoints().await.unwrap().remove(0);
    let newer = ledger.checkpoint(&signer).await.unwrap();
    let text = String::from_utf8(written).unwrap();
    for (kept, said) in [
        (&older, None),
        (
            &newer,
            Some(
                "the kept checkpoint is of 53 events, the ledger has 52: events were cut off at the end",
            ),
        ),
    ] {
        let trust = Trust {
            since: Some(kept),
            ..trust
        };
        let report = verify_export(text.as_bytes(), trust).unwrap();
        let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.first().map(String::as_str), said);
    }
    // Without a proof it agrees with itself, and that is all.
    let bare: String = text
        .lines()
        .filter(|line| !line.starts_with("{\"checkpoint\"") && !line.starts_with("{\"proof\""))
        .map(|line| format!("{line}\n"))
        .collect();
    let report = verify_export(bare.as_bytes(), Trust::default()).unwrap();
    assert!(report.holds() && !report.proved && !report.signed);
    assert!(!verify_export(bare.as_bytes(), trust).unwrap().holds());
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
