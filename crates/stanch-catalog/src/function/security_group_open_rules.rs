//! Which rules of a security group let the whole internet in.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ports::{Port, is_whole_family};

/// The input: either `ports`, or `except` and `except-udp`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Input {
    /// As DescribeSecurityGroupRules returns them.
    rules: Vec<Rule>,
    /// Ports that must not be open.
    ports: Option<Vec<Port>>,
    /// TCP ports that alone may be open.
    except: Option<Vec<Port>>,
    /// UDP ports that alone may be open: none if not given.
    #[serde(default)]
    except_udp: Vec<Port>,
    /// Prefix lists that stand for the internet.
    #[serde(default)]
    prefix_lists: Vec<String>,
}

/// What must not be open.
enum Closed {
    /// These ports.
    Ports(Vec<Port>),
    /// All ports but these.
    AllBut { tcp: Vec<Port>, udp: Vec<Port> },
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_SecurityGroupRule.html>
#[derive(Deserialize, Clone)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    security_group_rule_id: String,
    is_egress: bool,
    ip_protocol: String,
    from_port: Option<i64>,
    to_port: Option<i64>,
    cidr_ipv4: Option<String>,
    cidr_ipv6: Option<String>,
    prefix_list_id: Option<String>,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<Value>,
}

/// The offending rules, in the order given: id, the permission that authorizes the same again, and
/// tags.
///
/// A rule offends if it is an ingress rule from a whole address family (`0.0.0.0/0` or `::/0`) or a
/// prefix list named so, of TCP, UDP or all protocols, and covers one of the ports. A source that is a
/// security group is not the internet, whatever the protocol.
pub(super) fn run(input: Input) -> Result<Vec<Value>, String> {
    let closed = match (input.ports, input.except) {
        (Some(ports), None) => Closed::Ports(ports),
        (None, Some(tcp)) => Closed::AllBut {
            tcp,
            udp: input.except_udp,
        },
        _ => return Err("give either `ports` or `except`".to_owned()),
    };
    let offending = input.rules.iter().filter(|rule| {
        !rule.is_egress && rule.is_from_everywhere(&input.prefix_lists) && rule.opens(&closed)
    });
    Ok(offending
        .map(|rule| {
            json!({
                "SecurityGroupRuleId": rule.security_group_rule_id,
                "IpPermission": rule.permission(),
                "Tags": rule.tags,
            })
        })
        .collect())
}

impl Rule {
    fn is_from_everywhere(&self, prefix_lists: &[String]) -> bool {
        let whole = |cidr: &Option<String>| cidr.as_deref().is_some_and(is_whole_family);
        let list = self.prefix_list_id.as_ref();
        whole(&self.cidr_ipv4)
            || whole(&self.cidr_ipv6)
            || list.is_some_and(|list| prefix_lists.contains(list))
    }

    fn opens(&self, closed: &Closed) -> bool {
        let Some((from, to)) = self.ports() else {
            return false;
        };
        match closed {
            Closed::Ports(ports) => ports.iter().any(|port| (from..=to).contains(&port.0)),
            Closed::AllBut { tcp, udp } => {
                let may_be = match self.ip_protocol.as_str() {
                    "tcp" | "6" => tcp,
                    "udp" | "17" => udp,
                    _ => return true,
                };
                !(from..=to).all(|port| may_be.iter().any(|other| other.0 == port))
            }
        }
    }

    /// The first and the last port; none if its protocol has no ports.
    fn ports(&self) -> Option<(i64, i64)> {
        const ALL: (i64, i64) = (0, 65535);
        match self.ip_protocol.as_str() {
            "-1" => Some(ALL),
            "tcp" | "6" | "udp" | "17" => Some(match (self.from_port, self.to_port) {
                (Some(-1) | None, _) => ALL,
                (Some(from), to) => (from, to.unwrap_or(from)),
            }),
            _ => None,
        }
    }

    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html>
    fn permission(&self) -> Value {
        let mut permission = Map::new();
        permission.insert("IpProtocol".to_owned(), json!(self.ip_protocol));
        if self.ip_protocol != "-1" {
            for (name, port) in [("FromPort", self.from_port), ("ToPort", self.to_port)] {
                if let Some(port) = port {
                    permission.insert(name.to_owned(), json!(port));
                }
            }
        }
        let ranges = [
            ("IpRanges", "CidrIp", &self.cidr_ipv4),
            ("Ipv6Ranges", "CidrIpv6", &self.cidr_ipv6),
            ("PrefixListIds", "PrefixListId", &self.prefix_list_id),
        ];
        for (list, member, cidr) in ranges {
            if let Some(cidr) = cidr {
                let mut range = Map::from_iter([(member.to_owned(), json!(cidr))]);
                if let Some(description) = &self.description {
                    range.insert("Description".to_owned(), json!(description));
                }
                permission.insert(list.to_owned(), json!([range]));
            }
        }
        Value::Object(permission)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(rules: &[Value], ports: Value) -> Vec<String> {
        let input = json!({"rules": rules, "ports": ports});
        ids(&super::super::call("security-group-open-rules", &input).unwrap())
    }

    fn ids(found: &Value) -> Vec<String> {
        found
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule["SecurityGroupRuleId"].as_str().unwrap().to_owned())
            .collect()
    }

    fn rule(id: &str, protocol: &str, from: i64, to: i64, source: (&str, &str)) -> Value {
        json!({
            "SecurityGroupRuleId": id, "GroupId": "sg-1", "IsEgress": false,
            "IpProtocol": protocol, "FromPort": from, "ToPort": to, source.0: source.1,
        })
    }

    const V4: (&str, &str) = ("CidrIpv4", "0.0.0.0/0");
    const V6: (&str, &str) = ("CidrIpv6", "::/0");

    #[test]
    fn only_the_internet_offends() {
        let egress = {
            let mut rule = rule("egress", "-1", -1, -1, V4);
            rule["IsEgress"] = json!(true);
            rule
        };
        let group = {
            let mut rule = rule("group", "-1", -1, -1, ("PrefixListId", ""));
            rule["ReferencedGroupInfo"] = json!({"GroupId": "sg-2"});
            rule
        };
        let rules = [
            rule("ssh", "tcp", 22, 22, V4),
            rule("ssh6", "tcp", 22, 22, V6),
            rule("range", "tcp", 20, 25, V4),
            rule("all", "-1", -1, -1, V6),
            rule("tcp-all", "6", 0, 65535, V4),
            rule("web", "tcp", 443, 443, V4),
            rule("private", "tcp", 22, 22, ("CidrIpv4", "10.0.0.0/8")),
            rule("half", "tcp", 22, 22, ("CidrIpv4", "0.0.0.0/1")),
            rule("ping", "icmp", 8, -1, V4),
            rule("list", "tcp", 22, 22, ("PrefixListId", "pl-1")),
            group,
            egress,
        ];
        assert_eq!(
            call(&rules, json!(["22"])),
            ["ssh", "ssh6", "range", "all", "tcp-all"]
        );
        assert_eq!(call(&rules, json!([3389])), ["all", "tcp-all"]);
        assert!(call(&rules, json!([])).is_empty());
        let except = |input: Value| {
            let mut input = input;
            input["rules"] = json!(rules);
            ids(&super::super::call("security-group-open-rules", &input).unwrap())
        };
        assert_eq!(
            except(json!({"except": ["80", 443]})),
            ["ssh", "ssh6", "range", "all", "tcp-all"]
        );
        assert_eq!(
            except(json!({"except": [20, 21, 22, 23, 24, 25], "prefix-lists": ["pl-1"]})),
            ["all", "tcp-all", "web"]
        );
        assert_eq!(
            except(json!({"except": [443], "except-udp": [22], "prefix-lists": ["pl-1"]})),
            ["ssh", "ssh6", "range", "all", "tcp-all", "list"]
        );
    }

    #[test]
    fn a_range_of_udp_offends_unless_all_of_it_may_be_open() {
        let rules = [rule("voice", "udp", 5060, 5061, V4)];
        let call = |input: Value| {
            let mut input = input;
            input["rules"] = json!(rules);
            ids(&super::super::call("security-group-open-rules", &input).unwrap())
        };
        assert_eq!(call(json!({"except": [5060, 5061]})), ["voice"]);
        assert_eq!(call(json!({"except": [], "except-udp": [5060]})), ["voice"]);
        assert!(call(json!({"except": [], "except-udp": [5060, 5061]})).is_empty());
    }

    #[test]
    fn a_port_is_a_port() {
        for bad in [json!("ssh"), json!(65536), json!(-1), json!(null)] {
            let input = json!({"rules": [], "ports": [bad]});
            assert!(
                super::super::call("security-group-open-rules", &input).is_err(),
                "{bad}"
            );
        }
    }

    fn any_rule() -> impl Strategy<Value = Value> {
        let source = prop_oneof![
            Just(("CidrIpv4", "0.0.0.0/0")),
            Just(("CidrIpv6", "::/0")),
            Just(("CidrIpv4", "10.0.0.0/8")),
            Just(("CidrIpv6", "fd00::/8")),
            Just(("PrefixListId", "pl-1")),
        ];
        let protocol = prop_oneof![Just("tcp"), Just("udp"), Just("-1"), Just("icmp")];
        let description = proptest::option::of("[a-z ]{0,9}");
        (
            protocol,
            0i64..100,
            0i64..100,
            source,
            any::<bool>(),
            description,
        )
            .prop_map(|(protocol, from, length, source, egress, description)| {
                let mut rule = rule("", protocol, from, from + length, source);
                if protocol == "-1" {
                    rule["FromPort"] = json!(-1);
                    rule["ToPort"] = json!(-1);
                }
                rule["IsEgress"] = json!(egress);
                if let Some(description) = description {
                    rule["Description"] = json!(description);
                }
                rule
            })
    }

    /// What EC2 makes of a permission that is authorized.
    fn authorized(permission: &Value) -> Value {
        let all = permission["IpProtocol"] == "-1";
        let port = |name: &str| {
            if all {
                json!(-1)
            } else {
                permission[name].clone()
            }
        };
        let v4 = &permission["IpRanges"][0];
        let v6 = &permission["Ipv6Ranges"][0];
        let range = if v4.is_null() { v6 } else { v4 };
        let mut rule = json!({
            "GroupId": "sg-1", "IsEgress": false, "IpProtocol": permission["IpProtocol"],
            "FromPort": port("FromPort"), "ToPort": port("ToPort"),
        });
        for (name, value) in [
            ("CidrIpv4", &v4["CidrIp"]),
            ("CidrIpv6", &v6["CidrIpv6"]),
            ("Description", &range["Description"]),
        ] {
            if !value.is_null() {
                rule[name] = value.clone();
            }
        }
        rule
    }

    proptest! {
        #[test]
        fn revoking_closes_the_ports_and_authorizing_restores_the_rules(
            rules in proptest::collection::vec(any_rule(), 0..12),
            ports in proptest::collection::vec(0i64..200, 0..4),
        ) {
            let rules: Vec<Value> = rules.into_iter().enumerate().map(|(n, mut rule)| {
                rule["SecurityGroupRuleId"] = json!(format!("sgr-{n}"));
                rule
            }).collect();
            let input = json!({"rules": rules, "ports": ports});
            let found = super::super::call("security-group-open-rules", &input).unwrap();
            let found = found.as_array().unwrap();
            let revoked: Vec<&str> =
                found.iter().map(|r| r["SecurityGroupRuleId"].as_str().unwrap()).collect();
            let is_revoked = |rule: &&Value| revoked.contains(&rule["SecurityGroupRuleId"].as_str().unwrap());
            let kept: Vec<Value> = rules.iter().filter(|rule| !is_revoked(rule)).cloned().collect();
            // Nothing offends any more, and a second run revokes nothing.
            prop_assert!(call(&kept, json!(ports)).is_empty());
            for rule in rules.iter().filter(is_revoked) {
                // What was revoked did offend: alone it still does.
                prop_assert_eq!(call(std::slice::from_ref(rule), json!(ports)).len(), 1);
            }
            // Undo gives the very same rules, but for their ids.
            for (restored, rule) in found.iter().zip(rules.iter().filter(is_revoked)) {
                let mut expected = rule.clone();
                expected.as_object_mut().unwrap().remove("SecurityGroupRuleId");
                prop_assert_eq!(authorized(&restored["IpPermission"]), expected);
            }
        }
    }
}
