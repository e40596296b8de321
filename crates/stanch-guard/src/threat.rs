//! Threat intelligence: feeds of addresses and indicators, matched against findings.
//!
//! A match makes a finding urgent and is a fact that policies see. It permits nothing by itself.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
    sync::LazyLock,
};

use jiff::Timestamp;
use regex::Regex;
use serde_json::Value;

use crate::problem::Problem;

/// How many indicators of one finding are looked at.
const MOST: usize = 64;

/// A feed.
#[derive(Debug, Clone, Default)]
pub struct Feed {
    name: String,
    /// Addresses, domains, URLs and hashes, in lower case.
    exact: HashSet<String>,
    /// Networks, by their first and last address; sorted, none within another.
    networks: Vec<(u128, u128)>,
    /// Indicators that are not a plain list of alternatives, and lines that begin with none; not used.
    skipped: usize,
}

impl Feed {
    /// Reads a feed: a STIX 2.1 bundle, a table with a header (`.csv`), or an indicator a line.
    ///
    /// # Errors
    /// A bundle that is no JSON, or a file without an indicator.
    pub fn read(name: &str, text: &str, now: Timestamp) -> Result<Self, Problem> {
        let mut feed = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        if text.trim_start().starts_with('{') {
            feed.stix(name, text, now)?;
        } else {
            let path = name.split('?').next().unwrap_or(name);
            let is_csv = path.to_ascii_lowercase().ends_with(".csv");
            for line in text.lines() {
                let line = line.trim();
                if line.starts_with(['#', ';']) {
                    continue;
                }
                if is_csv {
                    // A table has names, dates and prose in its other columns.
                    for cell in line.split([',', ';', '\t']) {
                        let cell = cell.trim().trim_matches('"');
                        if is_address(cell) || is_hash(cell) {
                            feed.add(cell);
                        }
                    }
                } else if let Some(word) = line.split([' ', '\t', ',', '#', ';']).next() {
                    match is_indicator(word) {
                        true => feed.add(word),
                        false if word.is_empty() => {}
                        false => feed.skipped += 1,
                    }
                }
            }
            // A page that somebody's web server shows instead of a list has words with dots in them, too.
            if !is_csv && feed.skipped > feed.exact.len() + feed.networks.len() {
                return Err(
                    Problem::at(name, text, 0, "most of its lines begin with no indicator").hint(
                        "a plain feed has an address, domain, hash or URL at the beginning of each line",
                    ),
                );
            }
        }
        feed.networks.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::new();
        for (first, last) in std::mem::take(&mut feed.networks) {
            match joined.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        feed.networks = joined;
        if feed.len() == 0 {
            return Err(
                Problem::at(name, text, 0, "there is no indicator in it").hint(
                    "a feed is a STIX 2.1 bundle, a CSV file, or an address, domain or hash a line",
                ),
            );
        }
        Ok(feed)
    }

    fn stix(&mut self, name: &str, text: &str, now: Timestamp) -> Result<(), Problem> {
        let bundle: Value = serde_json::from_str(text).map_err(|error| {
            let line: usize = text
                .split_inclusive('\n')
                .take(error.line().saturating_sub(1))
                .map(str::len)
                .sum();
            Problem::at(name, text, line, format!("this is no JSON: {error}"))
        })?;
        let objects = bundle.get("objects").and_then(Value::as_array);
        for object in objects.into_iter().flatten() {
            let text = |key: &str| object.get(key).and_then(Value::as_str);
            let time = |key: &str| text(key).and_then(|time| time.parse::<Timestamp>().ok());
            if object.get("revoked") == Some(&Value::Bool(true))
                || time("valid_until").is_some_and(|until| until <= now)
                || time("valid_from").is_some_and(|from| from > now)
            {
                continue;
            }
            match (text("type"), text("value"), text("pattern")) {
                (Some("ipv4-addr" | "ipv6-addr" | "domain-name" | "url"), Some(value), _) => {
                    self.add(value);
                }
                (Some("indicator"), _, Some(pattern)) => self.pattern(pattern),
                _ => {}
            }
        }
        Ok(())
    }

    /// The values of a pattern that is met by any one of them:
    /// `[ipv4-addr:value = '198.51.100.1' OR ipv4-addr:value = '198.51.100.2']`.
    fn pattern(&mut self, pattern: &str) {
        #[expect(clippy::unwrap_used, reason = "the pattern is a literal")]
        static COMPARISON: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(
                r"(?:(?:ipv4-addr|ipv6-addr|domain-name|url):value|file:hashes\.(?:'[^']*'|[\w-]+))\s*(?:=|ISSUBSET)\s*'((?:[^'\\]|\\.)*)'",
            )
            .unwrap()
        });
        let rest = COMPARISON.replace_all(pattern, "");
        let glue = |c: char| c.is_whitespace() || matches!(c, '[' | ']' | '(' | ')');
        if rest
            .split(glue)
            .any(|word| !word.is_empty() && word != "OR")
        {
            self.skipped += 1;
            return;
        }
        for found in COMPARISON.captures_iter(pattern) {
            if let Some(value) = found.get(1) {
                self.add(&value.as_str().replace("\\'", "'").replace("\\\\", "\\"));
            }
        }
    }

    fn add(&mut self, indicator: &str) {
        let indicator = indicator.trim().to_ascii_lowercase();
        if indicator.is_empty() {
            return;
        }
        match network(&indicator) {
            Some(network) => self.networks.push(network),
            None => drop(self.exact.insert(indicator)),
        }
    }

    /// True if the feed has this indicator, or a network with this address.
    #[must_use]
    pub fn has(&self, indicator: &str) -> bool {
        let indicator = indicator.to_ascii_lowercase();
        match network(&indicator) {
            None => self.exact.contains(&indicator),
            Some((first, last)) => {
                let after = self.networks.partition_point(|(start, _)| *start <= first);
                let before = after.checked_sub(1).and_then(|at| self.networks.get(at));
                before.is_some_and(|(_, end)| last <= *end)
            }
        }
    }

    /// Its name: the file's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many indicators it has.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an empty feed is refused")]
    pub fn len(&self) -> usize {
        self.exact.len() + self.networks.len()
    }

    /// How many indicators of it are not used: those that are met only by several things together, and
    /// lines that begin with none.
    #[must_use]
    pub const fn skipped(&self) -> usize {
        self.skipped
    }
}

/// What a finding says of addresses, domains and files: public addresses anywhere in it, and the
/// values of members that are called so.
#[must_use]
pub fn indicators(finding: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(finding, "", &mut found);
    found
}

fn collect(value: &Value, key: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                collect(value, key, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect(item, key, found);
            }
        }
        Value::String(text) if found.len() < MOST && text.len() <= 256 => {
            let key = key.to_ascii_lowercase();
            let named =
                key.contains("domain") && text.contains('.') && !text.contains([' ', ':', '/'])
                    || key.contains("hash") && is_hash(text)
                    || key.contains("sha") && is_hash(text)
                    || key.contains("md5") && is_hash(text);
            if named || text.parse::<IpAddr>().is_ok_and(is_public) {
                found.insert(text.to_ascii_lowercase());
            }
        }
        _ => {}
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local())
        }
    }
}

fn is_address(text: &str) -> bool {
    network(text).is_some()
}

/// An address, a network, a hash, a domain, or a URL.
fn is_indicator(word: &str) -> bool {
    let is_label = |label: &str| {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        !label.is_empty() && label.chars().all(fits)
    };
    let domain = word.strip_suffix('.').unwrap_or(word);
    let is_domain = domain.contains('.') && domain.split('.').all(is_label);
    is_address(word) || is_hash(word) || is_domain || word.contains("://")
}

fn is_hash(text: &str) -> bool {
    matches!(text.len(), 32 | 40 | 64 | 128) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// First and last address of a network or a single address. IPv4 lies where IPv6 maps it.
fn network(text: &str) -> Option<(u128, u128)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let (value, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_ipv6_mapped()), 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let host = width - bits.unwrap_or(width).min(width);
    let mask = u128::MAX.checked_shl(host).unwrap_or(0);
    (bits.unwrap_or(width) <= width).then_some((value & mask, value | !mask))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn feed(name: &str, text: &str) -> Feed {
        Feed::read(name, text, "2026-11-22T00:00:00Z".parse().unwrap()).unwrap()
    }

    #[track_caller]
    fn check(feed: &Feed, has: &[&str], lacks: &[&str]) {
        for indicator in has {
            assert!(feed.has(indicator), "{indicator}");
        }
        for indicator in lacks {
            assert!(!feed.has(indicator), "{indicator}");
        }
    }

    #[test]
    fn plain_lists_and_tables() {
        let list = feed(
            "drop.txt",
            "; a comment\n203.0.113.0/24 ; SBL1\n198.51.100.7\n2001:db8::/32\nevil.example # c2\n",
        );
        check(
            &list,
            &[
                "203.0.113.255",
                "198.51.100.7",
                "2001:db8::1",
                "EVIL.example",
                "203.0.113.0/25",
            ],
            &[
                "203.0.114.0",
                "198.51.100.8",
                "2001:db9::1",
                "example",
                "203.0.112.0/22",
            ],
        );
        let words = feed("mixed.txt", "ip\n192.0.2.4\nhttps://evil.example/x\n\n");
        check(&words, &["192.0.2.4", "https://evil.example/x"], &["ip"]);
        assert_eq!((words.len(), words.skipped()), (2, 1));
        for page in [
            "<html>\n<body>\n<script>\nwindow.location = 1\n</script>\n",
            "Not found\n",
            "evil.example\nno more\nnothing else\n",
        ] {
            let read = Feed::read("drop.txt", page, "2026-11-22T00:00:00Z".parse().unwrap());
            assert!(read.is_err(), "{page}");
        }
        let table = feed(
            "ips.csv",
            "first_seen,dst_ip,malware\n2026-01-01,\"192.0.2.4\",Emotet\n# end\n",
        );
        check(&table, &["192.0.2.4"], &["emotet", "malware"]);
        let fetched = feed("https://a.example/ips.CSV?days=1", "Emotet,192.0.2.4\n");
        check(&fetched, &["192.0.2.4"], &["emotet"]);
    }

    #[test]
    fn stix_bundles() {
        let hash = "a".repeat(64);
        let bundle = json!({"type": "bundle", "objects": [
            {"type": "indicator", "pattern": "[ipv4-addr:value = '198.51.100.1' OR ipv4-addr:value ISSUBSET '203.0.113.0/24']"},
            {"type": "indicator", "pattern": format!("[file:hashes.'SHA-256' = '{hash}']")},
            {"type": "indicator", "pattern": "[domain-name:value = 'old.example']", "valid_until": "2026-01-01T00:00:00Z"},
            {"type": "indicator", "pattern": "[domain-name:value = 'gone.example']", "revoked": true},
            {"type": "indicator", "pattern": "[domain-name:value = 'a.example' AND ipv4-addr:value = '192.0.2.9']"},
            {"type": "domain-name", "value": "c2.example"},
        ]});
        let feed = feed("feed.json", &bundle.to_string());
        check(
            &feed,
            &["198.51.100.1", "203.0.113.9", &hash, "c2.example"],
            &["old.example", "gone.example", "a.example", "192.0.2.9"],
        );
        assert_eq!(feed.skipped(), 1);
    }

    #[test]
    fn a_feed_without_an_indicator_is_a_mistake() {
        for text in ["", "# nothing\n", "{\"type\": \"bundle\"}", "{"] {
            assert!(
                Feed::read("f", text, Timestamp::UNIX_EPOCH).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_finding_tells_its_indicators() {
        let finding = json!({
            "Id": "10.0.0.1",
            "Network": {"SourceIpV4": "198.51.100.1", "SourceDomain": "c2.example"},
            "Process": {"Hash": "d41d8cd98f00b204e9800998ecf8427e"},
            "Resources": [{"Details": {"CidrIp": "0.0.0.0/0", "DomainName": "a b.c"}}],
        });
        let expected = [
            "198.51.100.1",
            "c2.example",
            "d41d8cd98f00b204e9800998ecf8427e",
        ];
        assert_eq!(indicators(&finding), expected.map(str::to_owned).into());
    }
}
