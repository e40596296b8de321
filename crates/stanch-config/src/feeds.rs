//! Feeds of threat intelligence that are fetched, as `guard.threat_feeds` names them by address.
//!
//! What a feed said last is kept. A feed that does not answer, or answers something else, leaves what it
//! said before in force; one that never did is missing, as a file would be: nothing runs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stanch_guard::Feed;
use stanch_types::{Clock, Http, HttpRequest, Secret, chain, hex};

use crate::RulesError;

/// How long a feed may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most bytes of a feed.
pub const LARGEST_FEED: usize = 16 << 20;

/// Texts of feeds by their addresses, as the configuration has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetched(BTreeMap<PathBuf, String>);

impl Fetched {
    pub(crate) fn text(&self, address: &Path) -> Option<&str> {
        self.0.get(address).map(String::as_str)
    }
}

/// What a feed said, when, and under which tag.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Copy {
    address: String,
    at: Timestamp,
    #[serde(default)]
    etag: Option<String>,
    text: String,
}

/// Fetches feeds, each once in a while, and keeps what they said in a folder.
pub struct Feeds {
    http: Arc<dyn Http>,
    clock: Arc<dyn Clock>,
    folder: PathBuf,
    every: Duration,
}

/// True of an entry of `guard.threat_feeds` that has to be fetched.
pub(crate) fn is_address(feed: &Path) -> bool {
    feed.to_str()
        .is_some_and(|feed| feed.starts_with("https://"))
}

impl Feeds {
    /// Feeds whose copies are in `folder`, and count for `every`.
    #[must_use]
    pub fn new(
        http: Arc<dyn Http>,
        clock: Arc<dyn Clock>,
        folder: impl Into<PathBuf>,
        every: Duration,
    ) -> Self {
        Self {
            http,
            clock,
            folder: folder.into(),
            every,
        }
    }

    /// What those of `feeds` say that are addresses.
    ///
    /// # Errors
    /// One says nothing that can be used, and never did.
    pub async fn fetch(&self, feeds: &[PathBuf]) -> Result<Fetched, RulesError> {
        let mut fetched = Fetched::default();
        for feed in feeds.iter().filter(|feed| is_address(feed)) {
            let text = self.text(feed).await;
            let text = text.map_err(|why| RulesError::Unreadable {
                path: feed.clone(),
                why,
            })?;
            fetched.0.insert(feed.clone(), text);
        }
        Ok(fetched)
    }

    async fn text(&self, feed: &Path) -> Result<String, String> {
        let address = feed.to_string_lossy();
        let path = self.folder.join(format!("{}.json", name(&address)));
        let before = kept(&path).filter(|copy| copy.address == address);
        let now = self.clock.now();
        let age = |copy: &Copy| now.duration_since(copy.at).unsigned_abs();
        if let Some(copy) = before.as_ref().filter(|copy| age(copy) < self.every) {
            return Ok(copy.text.clone());
        }
        match self.ask(&address, before.as_ref(), now).await {
            Ok(copy) => {
                if let Err(error) = keep(&path, &copy) {
                    let error = chain(&error);
                    tracing::warn!(feed = %address, error, "what the feed says cannot be kept");
                }
                Ok(copy.text)
            }
            Err(error) => match before {
                Some(copy) => {
                    tracing::warn!(feed = %address, error, since = %copy.at, "the feed is not to be had: what it said before counts");
                    Ok(copy.text)
                }
                None => Err(error),
            },
        }
    }

    async fn ask(
        &self,
        address: &str,
        before: Option<&Copy>,
        now: Timestamp,
    ) -> Result<Copy, String> {
        let mut request = HttpRequest::get(Secret::new(address.to_owned()));
        if let Some(etag) = before.and_then(|copy| copy.etag.clone()) {
            request = request.with("if-none-match", etag);
        }
        let answer = tokio::time::timeout(PATIENCE, self.http.send(&request))
            .await
            .map_err(|_| format!("no answer within {} seconds", PATIENCE.as_secs()))?
            .map_err(|error| error.to_string())?;
        if let (304, Some(before)) = (answer.status, before) {
            return Ok(Copy {
                at: now,
                ..before.clone()
            });
        }
        if answer.status != 200 {
            return Err(format!("it answers with status {}", answer.status));
        }
        let etag = answer.header("etag").map(str::to_owned);
        let text = String::from_utf8(answer.body).map_err(|_| "it is not text".to_owned())?;
        // An error page is no feed, whatever its status.
        Feed::read(address, &text, now).map_err(|problem| problem.to_string())?;
        Ok(Copy {
            address: address.to_owned(),
            at: now,
            etag,
            text,
        })
    }
}

fn name(address: &str) -> String {
    hex(&Sha256::digest(address))
}

fn kept(path: &Path) -> Option<Copy> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Written beside its place and moved there: nobody reads half of it.
fn keep(path: &Path, copy: &Copy) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension("new");
    fs::write(&draft, serde_json::to_vec(copy)?)?;
    fs::rename(draft, path)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use jiff::SignedDuration;
    use stanch_testkit::FakeClock;
    use stanch_types::{HttpAnswer, HttpError};

    use super::*;

    const ADDRESS: &str = "https://feeds.example/drop.txt";

    /// Answers what it is told to, and notes what it is asked.
    #[derive(Default)]
    struct Host {
        answers: Mutex<Vec<Result<HttpAnswer, HttpError>>>,
        asked: Mutex<Vec<Option<String>>>,
    }

    #[async_trait]
    impl Http for Host {
        async fn send(&self, request: &HttpRequest) -> Result<HttpAnswer, HttpError> {
            assert_eq!(request.url.reveal(), ADDRESS);
            let etag = request
                .headers
                .first()
                .map(|(_, etag)| etag.reveal().clone());
            self.asked.lock().unwrap().push(etag);
            self.answers.lock().unwrap().remove(0)
        }
    }

    fn says(status: u16, body: &str) -> Result<HttpAnswer, HttpError> {
        Ok(HttpAnswer {
            status,
            headers: vec![("ETag".to_owned(), format!("\"{}\"", body.len()))],
            body: body.as_bytes().to_vec(),
        })
    }

    #[tokio::test]
    async fn what_a_feed_said_counts_until_it_says_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let host = Arc::new(Host::default());
        let clock = Arc::new(FakeClock::default());
        let feeds = Feeds::new(
            Arc::clone(&host) as _,
            Arc::clone(&clock) as _,
            folder.path().join("feeds"),
            Duration::from_hours(1),
        );
        let named = [PathBuf::from(ADDRESS), PathBuf::from("/etc/drop.txt")];
        let step = async |answers: Vec<_>, hours: i64| {
            *host.answers.lock().unwrap() = answers;
            host.asked.lock().unwrap().clear();
            clock.jump(SignedDuration::from_hours(hours));
            let said = feeds.fetch(&named).await;
            assert!(host.answers.lock().unwrap().is_empty(), "it was not asked");
            let said = said.map(|said| said.text(&named[0]).unwrap().to_owned());
            (
                said.map_err(|error| error.to_string()),
                host.asked.lock().unwrap().clone(),
            )
        };
        let broken = Err(HttpError::Unanswered("connection refused".to_owned()));
        for (answer, why) in [
            (broken.clone(), "no answer: connection refused"),
            (says(404, "198.51.100.1"), "it answers with status 404"),
            (says(302, ""), "it answers with status 302"),
            (says(304, ""), "it answers with status 304"),
            (says(200, "# nothing\n"), "there is no indicator in it"),
        ] {
            let (said, _) = step(vec![answer], 0).await;
            let error = said.unwrap_err();
            assert!(
                error.starts_with(&format!("cannot read `{ADDRESS}`: ")),
                "{error}"
            );
            assert!(error.contains(why), "{error}");
        }
        let first = Ok("198.51.100.1\n".to_owned());
        let answer = vec![says(200, "198.51.100.1\n")];
        assert_eq!(step(answer, 0).await, (first.clone(), vec![None]));
        // Within the hour nobody is asked; afterwards, whether it is still the same.
        assert_eq!(step(vec![], 0).await, (first.clone(), vec![]));
        let asked = vec![Some("\"13\"".to_owned())];
        let same = vec![says(304, "")];
        assert_eq!(step(same, 1).await, (first.clone(), asked.clone()));
        assert_eq!(step(vec![], 0).await, (first.clone(), vec![]));
        for trouble in [broken, says(500, ""), says(200, "<html>")] {
            assert_eq!(step(vec![trouble], 1).await, (first.clone(), asked.clone()));
        }
        let second = Ok("203.0.113.0/24".to_owned());
        let answer = vec![says(200, "203.0.113.0/24")];
        assert_eq!(step(answer, 1).await, (second.clone(), asked));
        // A copy that somebody has damaged is none.
        let copies = fs::read_dir(folder.path().join("feeds")).unwrap();
        for copy in copies {
            fs::write(copy.unwrap().path(), "{").unwrap();
        }
        let answer = vec![says(200, "203.0.113.0/24")];
        assert_eq!(step(answer, 0).await, (second, vec![None]));
    }
}
