//! Which entries of a network ACL let the whole internet in.

use serde::Deserialize;
use serde_json::Value;

use super::ports::{Port, is_whole_family};

/// The input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// As DescribeNetworkAcls returns them.
    entries: Vec<Value>,
    /// Ports that must not be open, as numbers or text.
    ports: Vec<Port>,
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_NetworkAclEntry.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    egress: bool,
    protocol: String,
    rule_action: String,
    cidr_block: Option<String>,
    ipv6_cidr_block: Option<String>,
    port_range: Option<PortRange>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PortRange {
    from: i64,
    to: i64,
}

/// The offending entries, in the order given, as they are: what CreateNetworkAclEntry takes to make
/// them again.
///
/// An entry offends if it allows ingress from a whole address family (`0.0.0.0/0` or `::/0`) by TCP,
/// UDP or all protocols, and covers one of the ports; also where an entry with a lower number denies
/// the same.
pub(super) fn run(input: Input) -> Result<Vec<Value>, String> {
    let mut offending = Vec::new();
    for entry in input.entries {
        let parsed = Entry::deserialize(&entry).map_err(|error| error.to_string())?;
        if parsed.offends(&input.ports) {
            offending.push(entry);
        }
    }
    Ok(offending)
}

impl Entry {
    fn offends(&self, ports: &[Port]) -> bool {
        let whole = |cidr: &Option<String>| cidr.as_deref().is_some_and(is_whole_family);
        !self.egress
            && self.rule_action == "allow"
            && (whole(&self.cidr_block) || whole(&self.ipv6_cidr_block))
            && ports.iter().any(|port| self.covers(port.0))
    }

    fn covers(&self, port: i64) -> bool {
        match (&*self.protocol, &self.port_range) {
            ("-1", _) | ("6" | "17" | "tcp" | "udp", None) => true,
            ("6" | "17" | "tcp" | "udp", Some(range)) => (range.from..=range.to).contains(&port),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn call(entries: &[Value], ports: Value) -> Vec<Value> {
        let input = json!({"entries": entries, "ports": ports});
        let found = super::super::call("network-acl-open-entries", &input).unwrap();
        found.as_array().unwrap().clone()
    }

    fn entry(
        number: i64,
        protocol: &str,
        range: Option<(i64, i64)>,
        source: (&str, &str),
    ) -> Value {
        let mut entry = json!({
            "RuleNumber": number, "Egress": false, "RuleAction": "allow", "Protocol": protocol,
            source.0: source.1,
        });
        if let Some((from, to)) = range {
            entry["PortRange"] = json!({"From": from, "To": to});
        }
        entry
    }

    const V4: (&str, &str) = ("CidrBlock", "0.0.0.0/0");
    const V6: (&str, &str) = ("Ipv6CidrBlock", "::/0");

    #[test]
    fn only_what_lets_the_internet_in_offends() {
        let with = |mut entry: Value, name: &str, value: Value| {
            entry[name] = value;
            entry
        };
        let open = [
            entry(100, "-1", None, V4),
            entry(101, "6", Some((22, 22)), V4),
            entry(102, "17", Some((0, 65535)), V6),
        ];
        let closed = [
            entry(103, "6", Some((443, 443)), V4),
            entry(104, "6", Some((22, 22)), ("CidrBlock", "10.0.0.0/8")),
            entry(105, "1", None, V4),
            with(entry(106, "-1", None, V4), "Egress", json!(true)),
            with(entry(32767, "-1", None, V4), "RuleAction", json!("deny")),
        ];
        let all: Vec<Value> = open.iter().chain(&closed).cloned().collect();
        assert_eq!(call(&all, json!(["22", 3389])), open);
        assert!(call(&all, json!([])).is_empty());
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for bad in [
            json!({"entries": [{}], "ports": [22]}),
            json!({"entries": null, "ports": [22]}),
            json!({"entries": [], "ports": ["ssh"]}),
        ] {
            assert!(
                super::super::call("network-acl-open-entries", &bad).is_err(),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_left_does_not_offend_and_what_goes_did(
            entries in proptest::collection::vec(
                (0i64..200, prop_oneof![Just("-1"), Just("6"), Just("17"), Just("1")],
                 proptest::option::of((0i64..100, 0i64..100)), any::<bool>(), any::<bool>()),
                0..10),
            port in 0i64..200,
        ) {
            let entries: Vec<Value> = entries.into_iter().map(|(number, protocol, range, v6, deny)| {
                let range = range.map(|(from, length)| (from, from + length));
                let mut entry = entry(number, protocol, range, if v6 { V6 } else { V4 });
                if deny {
                    entry["RuleAction"] = json!("deny");
                }
                entry
            }).collect();
            let found = call(&entries, json!([port]));
            let rest: Vec<Value> = entries.iter().filter(|e| !found.contains(e)).cloned().collect();
            prop_assert!(call(&rest, json!([port])).is_empty());
            for entry in found {
                prop_assert_eq!(call(std::slice::from_ref(&entry), json!([port])), [entry]);
            }
        }
    }
}
