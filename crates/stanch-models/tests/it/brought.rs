//! Models that users bring.

use serde_json::{Value, json};
use stanch_models::{
    AuthScheme, Expected, Location, Matcher, Models, Protocol, Service, ShapeKind, TimestampFormat,
    Verdict,
};

fn model(change: impl FnOnce(&mut Value)) -> Value {
    let mut model = json!({
        "metadata": {
            "apiVersion": "2026-01-01", "endpointPrefix": "shelf", "signingName": "library",
            "serviceId": "Book Shelf", "protocols": ["json", "smithy-rpc-v2-cbor"],
            "jsonVersion": "1.1", "targetPrefix": "Shelf", "auth": ["aws.auth#sigv4"],
        },
        "operations": {
            "PutBook": {
                "http": {"method": "PUT", "requestUri": "/books/{Id}", "responseCode": 201},
                "input": {"shape": "Book", "locationName": "BookRequest", "xmlNamespace": {"uri": "urn:b"}},
                "output": {"shape": "Book", "resultWrapper": "PutBookResult"},
                "errors": [{"shape": "Gone"}],
                "endpoint": {"hostPrefix": "{Id}."},
                "httpChecksum": {"requestChecksumRequired": true, "requestAlgorithmMember": "Algorithm"},
                "staticContextParams": {"Kind": {"value": "control"}},
                "idempotent": true,
            },
            "Open": {"authtype": "none"},
        },
        "shapes": {
            "Book": {
                "type": "structure", "required": ["Id"], "payload": "Pages",
                "members": {
                    "Id": {"shape": "Id", "location": "uri", "locationName": "Id", "hostLabel": true},
                    "Token": {"shape": "Text", "idempotencyToken": true, "location": "header", "locationName": "x-token"},
                    "Pages": {"shape": "Pages"},
                    "Written": {"shape": "Time"},
                    "Printed": {"shape": "Time", "timestampFormat": "rfc822"},
                },
            },
            "Gone": {"type": "structure", "members": {}, "exception": true,
                     "error": {"code": "Shelf.Gone", "httpStatusCode": 410, "senderFault": true}},
            "Id": {"type": "string", "min": 1, "max": 8, "sensitive": true},
            "Pages": {"type": "list", "member": {"shape": "Text", "locationName": "page"}, "flattened": true},
            "Text": {"type": "string", "enum": ["a", "b"]},
            "Time": {"type": "timestamp", "timestampFormat": "unixTimestamp"},
        },
    });
    change(&mut model);
    model
}

#[test]
fn every_trait_is_read() {
    let service = Service::from_service_2("shelf", &model(|_| ())).unwrap();
    assert_eq!(service.protocol, Protocol::RpcV2Cbor);
    assert_eq!(service.protocols, [Protocol::Json, Protocol::RpcV2Cbor]);
    assert_eq!(
        (&*service.signing_name, &*service.service_id),
        ("library", "Book Shelf")
    );

    let put = service.operation("PutBook").unwrap();
    assert_eq!(
        (&*put.method, &*put.uri, put.response_code),
        ("PUT", "/books/{Id}", 201)
    );
    assert_eq!(put.input_location_name.as_deref(), Some("BookRequest"));
    assert_eq!(
        put.input_xml_namespace.as_ref().map(|n| &*n.uri),
        Some("urn:b")
    );
    assert_eq!(put.result_wrapper.as_deref(), Some("PutBookResult"));
    assert_eq!(put.host_prefix.as_deref(), Some("{Id}."));
    assert_eq!(put.checksum.as_ref().map(|c| c.required), Some(true));
    assert!(put.idempotent);
    assert_eq!(service.auth_of(put), [AuthScheme::SigV4]);
    assert_eq!(
        service.auth_of(service.operation("Open").unwrap()),
        [AuthScheme::None]
    );

    let book = service.shape(put.input.unwrap()).structure().unwrap();
    let id = book.member("Id").unwrap();
    assert!(id.required && id.host_label && id.sensitive);
    assert_eq!(id.location, Location::Uri);
    let token = book.member("Token").unwrap();
    assert!(token.idempotency_token && !token.required);
    assert_eq!(
        (token.location, token.wire_name()),
        (Location::Header, "x-token")
    );
    let pages = book.payload_member().unwrap();
    assert_eq!((&*pages.name, pages.flattened), ("Pages", true));
    let ShapeKind::List { member, .. } = &service.shape(pages.shape).kind else {
        unreachable!()
    };
    assert_eq!(member.wire_name(), "page");
    assert_eq!(
        book.member("Written").unwrap().timestamp_format,
        Some(TimestampFormat::UnixTimestamp)
    );
    assert_eq!(
        book.member("Printed").unwrap().timestamp_format,
        Some(TimestampFormat::Rfc822)
    );

    let gone = service.shape(put.errors[0]);
    assert_eq!(gone.error_code(), Some("Shelf.Gone"));
    assert_eq!(
        gone.structure()
            .unwrap()
            .error
            .as_ref()
            .unwrap()
            .http_status,
        Some(410)
    );
}

#[test]
fn a_model_that_is_none_is_refused_with_the_place() {
    for (change, message) in [
        (
            (|m| m["operations"]["PutBook"]["input"]["shape"] = json!("Bok")) as fn(&mut Value),
            "model `shelf`: `operations.PutBook` refers to the shape `Bok`, which is not defined",
        ),
        (
            |m| m["shapes"]["Book"]["members"]["Id"]["location"] = json!("moon"),
            "model `shelf`: `shapes.Book.Id` is not at a known location",
        ),
        (
            |m| m["shapes"]["Book"]["payload"] = json!("Nothing"),
            "model `shelf`: `shapes.Book` is not a structure with the member of its `payload`",
        ),
        (
            |m| m["shapes"]["Id"]["type"] = json!("strin"),
            "model `shelf`: `shapes.Id` is not a shape of a known type",
        ),
        (
            |m| m["metadata"]["protocols"] = json!(["soap"]),
            "model `shelf`: no known protocol in `soap`",
        ),
        (
            |m| m["shapes"] = json!([]),
            "model `shelf`: `shapes` is not an object",
        ),
        (
            |m| *m = json!(null),
            "model `shelf`: `shapes` is not an object",
        ),
    ] {
        let error = Service::from_service_2("shelf", &model(change)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_brought_service_goes_before_an_embedded_one() {
    let mut models = Models::embedded().unwrap();
    assert!(models.service("s3").unwrap().operation("PutBook").is_none());
    models.bring(Service::from_service_2("s3", &model(|_| ())).unwrap());
    models.bring(Service::from_service_2("shelf", &model(|_| ())).unwrap());
    assert!(models.service("s3").unwrap().operation("PutBook").is_some());
    assert_eq!(
        &*models
            .resolve("Shelf", "put_book")
            .unwrap()
            .operation()
            .name,
        "PutBook"
    );
    assert_eq!(
        models
            .names()
            .iter()
            .filter(|n| matches!(**n, "s3" | "shelf"))
            .count(),
        2
    );
}

#[test]
fn paginators_and_waiters_are_embedded() {
    let models = Models::embedded().unwrap();
    let ec2 = models.service("ec2").unwrap();
    let pages = ec2.paginator("DescribeInstances").unwrap();
    assert_eq!(
        [
            &*pages.input_tokens[0],
            &*pages.output_tokens[0],
            &*pages.result_keys[0]
        ],
        ["NextToken", "NextToken", "Reservations"]
    );
    let s3 = models.service("s3").unwrap();
    assert_eq!(
        s3.paginator("ListObjectVersions")
            .unwrap()
            .input_tokens
            .len(),
        2
    );
    let waiter = models
        .service("rds")
        .unwrap()
        .waiter("DBInstanceAvailable")
        .unwrap()
        .clone();
    assert_eq!(
        (&*waiter.operation, waiter.delay, waiter.max_attempts),
        ("DescribeDBInstances", 30, 60)
    );
    let first = &waiter.acceptors[0];
    assert_eq!(first.verdict, Verdict::Success);
    assert_eq!(
        first.matcher,
        Matcher::PathAll {
            expression: "DBInstances[].DBInstanceStatus".into(),
            expected: Expected::String("available".into()),
        }
    );
}
