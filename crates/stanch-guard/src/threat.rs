//! Threat intelligence: feeds of addresses and indicators, matched against findings.
//!
//! A match makes a finding urgent and is a fact that policies see. It permits nothing by itself.

use std::{
    collections::{BTreeSet, HashSet},
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
};

use jiff::Timestamp;
use regex::Regex;
use serde_json::Value;

use crate::problem::Problem;

/// How many indicators of one finding are looked at.
const MOST: usize = 64;
/// The bytes of the longest one: as many as the value of a `ThreatIntelIndicator` may have.
const LONGEST: usize = 512;

/// How tables call a column of domains or URLs. Another one may have links to more about a row, such as
/// `urlhaus_link` or `reference`.
const COLUMNS: [&str; 17] = [
    "domain",
    "domain_name",
    "domains",
    "fqdn",
    "host",
    "hostname",
    "indicator",
    "indicator_value",
    "indicators",
    "ioc",
    "ioc_value",
    "iocs",
    "observable",
    "uri",
    "url",
    "urls",
    "value",
];

/// A feed.
#[derive(Debug, Clone, Default)]
pub struct Feed {
    name: String,
    /// Domains, URLs and hashes, as they are compared.
    exact: HashSet<String>,
    /// Networks, by their first and last address; sorted, none within another.
    networks: Vec<(u128, u128)>,
    /// Indicators that were revoked, or whose time is over or has not come.
    over: usize,
    /// Indicators that are not a plain list of alternatives, lines that begin with none, and rows that
    /// have none; not used.
    skipped: usize,
}

impl Feed {
    /// Reads a feed: a STIX 2.1 bundle, a table (`.csv`, or with a header as abuse.ch has it), an indicator
    /// a line, or a hosts file.
    ///
    /// # Errors
    /// A bundle that is no JSON, or a file without an indicator.
    pub fn read(name: &str, text: &str, now: Timestamp) -> Result<Self, Problem> {
        // As spreadsheets begin what they save.
        let text = text.trim_start_matches('\u{feff}');
        let mut feed = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        if text.trim_start().starts_with('{') {
            feed.stix(name, text, now)?;
        } else {
            let path = name.split('?').next().unwrap_or(name);
            let is_csv = path.to_ascii_lowercase().ends_with(".csv");
            let table = Table::of(text, is_csv);
            match &table {
                Some(table) => feed.table(table, text),
                None => feed.list(text),
            }
            // A page that somebody's web server shows instead of a list has words with dots in them, too.
            if table.is_none() && feed.skipped > feed.exact.len() + feed.networks.len() {
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
        // All of a feed may be over: that is what it says, and no mistake.
        if feed.len() == 0 && feed.over == 0 {
            return Err(
                Problem::at(name, text, 0, "there is no indicator in it").hint(
                    "a feed is a STIX 2.1 bundle, an address, domain, hash or URL a line, or a CSV file whose header calls a column of domains or URLs `domain`, `url` or `indicator`",
                ),
            );
        }
        Ok(feed)
    }

    /// An indicator at the beginning of each line; or the lines of a hosts file, which lead domains nowhere.
    fn list(&mut self, text: &str) {
        for line in lines(text) {
            let mut words = line
                .split([' ', '\t', ','])
                .take_while(|word| !word.starts_with(['#', ';']))
                .map(bare)
                .filter(|word| !word.is_empty());
            let Some(first) = words.next() else { continue };
            let meant: Vec<&str> = match first.parse::<IpAddr>() {
                Ok(nowhere) if nowhere.is_unspecified() || nowhere.is_loopback() => {
                    words.filter(|word| is_domain(word)).collect()
                }
                _ if is_indicator(first) => vec![first],
                _ => Vec::new(),
            };
            self.skipped += usize::from(meant.is_empty());
            for indicator in meant {
                self.add(indicator);
            }
        }
    }

    /// Addresses and hashes of any column, which nothing else looks like; domains and URLs of those that
    /// are called so.
    fn table(&mut self, table: &Table, text: &str) {
        for (index, line) in lines(text).enumerate() {
            let mut is_used = false;
            for (column, cell) in row(line, table.separator).iter().enumerate() {
                let meant: Vec<&str> = match table.named.contains(&column) && is_indicator(cell) {
                    true => vec![cell.as_str()],
                    false => cell
                        .split([',', ';', '\t'])
                        .map(str::trim)
                        .filter(|part| is_address(part) || is_hash(part))
                        .collect(),
                };
                is_used |= !meant.is_empty();
                for indicator in meant {
                    self.add(indicator);
                }
            }
            // The first line may be the header.
            self.skipped += usize::from(!is_used && index > 0);
        }
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
                self.over += 1;
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
        let indicator = canonical(indicator);
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
        let indicator = canonical(indicator);
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

    /// How many indicators of it are not used: those that are met only by several things together, lines
    /// that begin with none, and rows that have none.
    #[must_use]
    pub const fn skipped(&self) -> usize {
        self.skipped
    }
}

/// How a table is read.
struct Table {
    separator: char,
    /// The columns of domains and URLs.
    named: Vec<usize>,
}

impl Table {
    /// The table that a text is: one whose header tells a column of indicators, or a file that is called so.
    /// A header may be one of the comments before the rows
    /// (<https://urlhaus.abuse.ch/api/#csv>: `# id,dateadded,url,…`).
    fn of(text: &str, is_csv: bool) -> Option<Self> {
        let written = text.lines().map(str::trim);
        for line in written.filter(|line| !line.is_empty()) {
            let is_comment = line.starts_with(['#', ';']);
            let header = line.trim_start_matches(['#', ';', ' ']);
            let separator = separator(header);
            let names = row(header, separator);
            if names.len() > 1 {
                // Prose has commas, too.
                let is_name = |name: &String| {
                    !(is_indicator(name) || is_comment && name.contains(char::is_whitespace))
                };
                let is_named = |name: &String| {
                    let name = name.to_ascii_lowercase().replace([' ', '-'], "_");
                    COLUMNS.contains(&name.as_str())
                };
                let named: Vec<usize> = match names.iter().all(is_name) {
                    true => (0..names.len())
                        .filter(|column| names.get(*column).is_some_and(is_named))
                        .collect(),
                    false => Vec::new(),
                };
                if !named.is_empty() || is_csv && !is_comment {
                    return Some(Self { separator, named });
                }
            }
            if !is_comment {
                break;
            }
        }
        None
    }
}

/// The lines of a feed that are no comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// A word of a list without quotes, and without a comment that follows at once. A URL has such characters.
fn bare(word: &str) -> &str {
    let word = word.trim_matches('"');
    match is_url(word) {
        true => word,
        false => word.split(['#', ';']).next().unwrap_or_default(),
    }
}

/// What separates the cells of a line: what it has most of, outside of quotes.
fn separator(line: &str) -> char {
    let plain: String = line.split('"').step_by(2).collect();
    let separators = ['\t', ';', ','].into_iter();
    separators
        .max_by_key(|separator| plain.matches(*separator).count())
        .unwrap_or(',')
}

/// The cells of a line of a table. Those in quotes may have the separator in them, and quotes as `""`.
fn row(line: &str, separator: char) -> Vec<String> {
    let mut cells = Vec::new();
    let mut cell = String::new();
    let mut is_quoted = false;
    let mut rest = line.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '"' if is_quoted && rest.peek() == Some(&'"') => cell.extend(rest.next()),
            '"' => is_quoted = !is_quoted,
            next if next == separator && !is_quoted => cells.push(std::mem::take(&mut cell)),
            next => cell.push(next),
        }
    }
    cells.push(cell);
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

/// What a finding says of addresses, domains, URLs and files: public addresses anywhere in it, domains and
/// hashes that members called so have, and what it calls an indicator itself. Its other URLs lead to more
/// about it.
#[must_use]
pub fn indicators(finding: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(finding, "", &mut found);
    found
}

fn collect(value: &Value, key: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let text = |key: &str| members.get(key).and_then(Value::as_str);
            if let (Some(kind), Some(value)) = (text("Type"), text("Value"))
                && is_of(kind, value)
            {
                keep(value, found);
            }
            for (key, value) in members {
                collect(value, key, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect(item, key, found);
            }
        }
        Value::String(text) => {
            let key = key.to_ascii_lowercase();
            let named = key.contains("domain") && is_domain(text)
                || key.contains("hash") && is_hash(text)
                || key.contains("sha") && is_hash(text)
                || key.contains("md5") && is_hash(text);
            if named || text.parse::<IpAddr>().is_ok_and(is_public) {
                keep(text, found);
            }
        }
        _ => {}
    }
}

fn keep(indicator: &str, found: &mut BTreeSet<String>) {
    if found.len() < MOST && indicator.len() <= LONGEST {
        found.insert(canonical(indicator));
    }
}

/// True if a value is what a `ThreatIntelIndicator` of that type has
/// (<https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_ThreatIntelIndicator.html>). Its addresses
/// are found as any others; feeds have no mailboxes, mutexes and processes.
fn is_of(kind: &str, value: &str) -> bool {
    match kind {
        "DOMAIN" => is_domain(value),
        "URL" => is_url(value),
        "HASH_MD5" | "HASH_SHA1" | "HASH_SHA256" | "HASH_SHA512" => is_hash(value),
        _ => false,
    }
}

/// An indicator as it is compared: in lower case, and a domain without the dot of the root.
fn canonical(indicator: &str) -> String {
    let mut indicator = indicator.trim().to_ascii_lowercase();
    if indicator.ends_with('.') && is_domain(&indicator) {
        indicator.pop();
    }
    indicator
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
    is_address(word) || is_hash(word) || is_domain(word) || is_url(word)
}

/// Labels with dots between them. The last one has more than digits, or it would be of an address.
fn is_domain(word: &str) -> bool {
    let is_label = |label: &str| {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        !label.is_empty() && label.chars().all(fits)
    };
    let domain = word.strip_suffix('.').unwrap_or(word);
    let last = domain.rsplit_once('.').map(|(_, last)| last);
    domain.split('.').all(is_label)
        && last.is_some_and(|last| !last.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_url(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    text.split_once("://").is_some_and(|(scheme, rest)| {
        let has_scheme = !scheme.is_empty() && scheme.chars().all(fits);
        has_scheme && !rest.is_empty() && !rest.contains(char::is_whitespace)
    })
}

fn is_hash(text: &str) -> bool {
    matches!(text.len(), 32 | 40 | 64 | 128) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// First and last address of a network or a single address, which may have a port. IPv4 lies where IPv6
/// maps it.
fn network(text: &str) -> Option<(u128, u128)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (
            address.parse::<IpAddr>().ok()?,
            Some(bits.parse::<u32>().ok()?),
        ),
        None => match text.parse::<SocketAddr>() {
            Ok(server) => (server.ip(), None),
            Err(_) => (text.parse::<IpAddr>().ok()?, None),
        },
    };
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
    fn tables_have_domains_and_urls_in_columns_that_are_called_so() {
        // As URLhaus, Feodo Tracker and ThreatFox write them: the header is a comment.
        let urlhaus = feed(
            "https://urlhaus.abuse.ch/downloads/csv_recent/",
            "################\n# abuse.ch URLhaus Database Dump (CSV - recent URLs only)\n# Terms Of Use: https://urlhaus.abuse.ch/api/\n#\n# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\n\
             \"3\",\"2026-11-21 07:47:14\",\"http://192.0.2.4:5555/i\",\"online\",\"\",\"malware_download\",\"elf,Mozi\",\"https://urlhaus.abuse.ch/url/3/\",\"a\"\n\
             \"2\",\"2026-11-21 07:47:13\",\"https://evil.example/a;b,c\",\"offline\",\"\",\"malware_download\",\"None\",\"https://urlhaus.abuse.ch/url/2/\",\"b.example\"\n",
        );
        check(
            &urlhaus,
            &["http://192.0.2.4:5555/i", "https://Evil.example/a;b,c"],
            &[
                "https://urlhaus.abuse.ch/url/3/",
                "https://urlhaus.abuse.ch/api/",
                "b.example",
                "192.0.2.4",
            ],
        );
        assert_eq!((urlhaus.len(), urlhaus.skipped()), (2, 0));
        let feodo = feed(
            "ipblocklist.csv",
            "# first_seen_utc,dst_ip,dst_port,c2_status,last_online,malware\n\"2026-11-21 10:00:00\",\"192.0.2.5\",\"443\",\"online\",\"2026-11-21\",\"Dridex\"\n",
        );
        check(&feodo, &["192.0.2.5"], &["dridex"]);
        let threatfox = feed(
            "recent.csv",
            "# \"first_seen_utc\",\"ioc_id\",\"ioc_value\",\"ioc_type\",\"reference\"\n\
             \"2026-11-21 10:00:00\", \"1\", \"192.0.2.6:4000\", \"ip:port\", \"https://about.example/1\"\n\
             \"2026-11-21 10:00:00\", \"2\", \"c2.example\", \"domain\", \"https://about.example/2\"\n\
             \"2026-11-21 10:00:00\", \"3\", \"someone@c3.example\", \"email\", \"https://about.example/3\"\n",
        );
        check(
            &threatfox,
            &["192.0.2.6", "c2.example"],
            &["c3.example", "https://about.example/1"],
        );
        assert_eq!((threatfox.len(), threatfox.skipped()), (2, 1));
        // Prose and dates are none, whatever the column is called.
        let own = feed(
            "own.csv",
            "\u{feff}Domain;Seen in;Note\nevil.example.;mail.example;\"said \"\"go.example\"\"; often\"\nsee the note;mail.example;all of it\nunknown;;198.51.100.7\n",
        );
        check(
            &own,
            &["evil.example", "198.51.100.7"],
            &["mail.example", "go.example"],
        );
        assert_eq!((own.len(), own.skipped()), (2, 1));
        // One column is a list.
        let urls = feed("urls.csv", "url\n\"https://evil.example/x\"\n");
        check(&urls, &["https://evil.example/x"], &["url"]);
        // No column is called so: nothing says which of them it is.
        let nameless = "2026-11-21,https://evil.example/x,https://about.example/1\n";
        let problem = Feed::read("f.csv", nameless, Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(problem.to_string().contains("no indicator"), "{problem}");
        let partly = feed("f.csv", &format!("192.0.2.4,seen,today\n{nameless}"));
        assert_eq!((partly.len(), partly.skipped()), (1, 1));
        // A list whose comments have commas stays one.
        let list = feed(
            "list.txt",
            "# Please report a url, domain, or host to us\nevil.example,host\nhttps://evil.example/#a;b ; c2\n",
        );
        check(
            &list,
            &["evil.example", "https://evil.example/#a;b"],
            &["host"],
        );
    }

    #[test]
    fn domains_are_one_with_the_dot_of_the_root_and_in_hosts_files() {
        let list = feed("d.txt", "evil.example.\nbad.example\n");
        check(
            &list,
            &[
                "evil.example",
                "evil.example.",
                "bad.example.",
                "Bad.Example",
            ],
            &["example.", "evil.example.."],
        );
        let hosts = feed(
            "hosts",
            "# a hosts file\n127.0.0.1 localhost\n0.0.0.0 0.0.0.0\n0.0.0.0 evil.example # why.example\n127.0.0.1\tbad.example  worse.example\n::1 six.example\n198.51.100.7 kept.example\n",
        );
        check(
            &hosts,
            &[
                "evil.example",
                "bad.example",
                "worse.example",
                "six.example",
                "198.51.100.7",
            ],
            &["0.0.0.0", "127.0.0.1", "::1", "why.example", "kept.example"],
        );
        assert_eq!((hosts.len(), hosts.skipped()), (5, 2));
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
            "Network": {"SourceIpV4": "198.51.100.1", "SourceDomain": "C2.example."},
            "Process": {"Hash": "d41d8cd98f00b204e9800998ecf8427e"},
            "Resources": [{"Details": {"CidrIp": "0.0.0.0/0", "DomainName": "a b.c"}}],
            "Remediation": {"Recommendation": {"Url": "https://docs.example/1"}},
            "ThreatIntelIndicators": [
                {"Type": "DOMAIN", "Value": "c3.example", "SourceUrl": "https://about.example/1"},
                {"Type": "URL", "Value": "https://Evil.example/x"},
                {"Type": "HASH_SHA1", "Value": "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709"},
                {"Type": "IPV4_ADDRESS", "Value": "198.51.100.2"},
                {"Type": "PROCESS", "Value": "evil.exe"},
                {"Type": "HASH_MD5", "Value": "none"},
            ],
        });
        let expected = [
            "198.51.100.1",
            "198.51.100.2",
            "c2.example",
            "c3.example",
            "d41d8cd98f00b204e9800998ecf8427e",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "https://evil.example/x",
        ];
        assert_eq!(indicators(&finding), expected.map(str::to_owned).into());
        let stix = json!({"type": "bundle", "objects": [
            {"type": "indicator", "pattern": "[url:value = 'https://evil.example/x']"},
        ]});
        for (name, text) in [
            ("urls.txt", "https://evil.example/x\n".to_owned()),
            ("urls.json", stix.to_string()),
        ] {
            let feed = feed(name, &text);
            let known = indicators(&finding).into_iter();
            let known: Vec<String> = known.filter(|indicator| feed.has(indicator)).collect();
            assert_eq!(known, ["https://evil.example/x"], "{name}");
        }
    }
}
