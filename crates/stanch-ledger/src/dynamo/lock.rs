//! Locks and dead letters: items of the state table that change in place.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    DynamoLedger,
    chain::{removal, seconds},
    item::{Item, n, s, ss},
    store::{Put, Returns, mark, values},
};
use crate::{
    DeadLetter, Digest, Lease, LedgerError, Left, Letter, Lock, RemediationId,
    chain::to_millisecond,
};

/// The partition of what could not be taken in: people look at it, and it stays small.
pub(super) const LETTER: &str = "letter";

/// A lock that nobody wants is removed after this.
pub(super) const FORGOTTEN: Duration = Duration::from_hours(24 * 7);

/// The longest that anything is kept.
const LONGEST: Duration = Duration::from_hours(24 * 2_557);

/// When a lock is removed under which something was left open: it may be there as long as anything is.
pub(super) fn left_open(now: Timestamp) -> i64 {
    let until = now.saturating_add(LONGEST).unwrap_or(now);
    seconds(removal(until, now))
}

/// A lock stays when it is given back: its tokens go on. It says when that was, and which remediations
/// were worked on under it and have not ended (`Open`), so that nobody else has to be looked at.
pub(super) fn lock_key(key: &str) -> Item {
    // A key is at most 2,048 bytes long.
    let name = match key.len() {
        0..1_000 => key.to_owned(),
        _ => Digest::of_plain(&key).to_string(),
    };
    Item::key(&format!("lock#{name}"), "lock")
}

/// Since when nobody but `work` has had the lock, by what it was before; `None` if somebody has left
/// something open.
fn quiet(before: &Item, work: &str, now: Timestamp) -> Option<Timestamp> {
    if before.0.is_empty() {
        // Nobody has had it for as long as one is kept.
        return now.saturating_sub(FORGOTTEN).ok();
    }
    let is_alone = before.texts("Open").into_iter().all(|open| open == work);
    let freed = Timestamp::from_millisecond(before.number("Freed")?).ok()?;
    is_alone.then_some(freed)
}

impl DynamoLedger {
    pub(super) async fn take(
        &self,
        key: &str,
        owner: &str,
        work: RemediationId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lock, LedgerError> {
        let expires = Lease::end(now, ttl);
        let mark = mark();
        let work_name = work.to_string();
        let values = values([
            (":owner", s(owner)),
            (":mark", mark.clone()),
            (":until", n(expires.as_millisecond())),
            (":now", n(now.as_millisecond())),
            (":one", n(1)),
            (":work", ss([&work_name])),
            // Whoever dies with it leaves something open.
            (":gone", n(left_open(now))),
        ]);
        // Where the item was removed, tokens begin with the time: beyond all that were given out.
        let expression = "SET #Owner = :owner, #Mark = :mark, #Until = :until, #ExpiresAt = :gone, \
             #Token = if_not_exists(#Token, :now) + :one ADD #Open :work";
        let free = "attribute_not_exists(#Key) OR #Until <= :now";
        let key_of = lock_key(key);
        let before = self
            .store
            .update(&key_of, expression, Some(free), values, Returns::Before)
            .await?;
        let damaged = || self.store.damaged("a lock cannot be read");
        let (token, quiet_since) = match before {
            Some(before) => {
                let token = before.number("Token").unwrap_or(now.as_millisecond()) + 1;
                (token, quiet(&before, &work_name, now))
            }
            None => {
                let held = self.store.get(&self.store.tables.state, &key_of).await?;
                let held = held.ok_or_else(damaged)?;
                // Not ours, but for one that was sent twice because the answer got lost: what was there
                // before is not known then.
                if held.0.get("Mark") != Some(&mark) {
                    let until = held.number("Until").ok_or_else(damaged)?;
                    return Ok(Lock::Busy {
                        owner: held.text("Owner").ok_or_else(damaged)?.to_owned(),
                        expires: Timestamp::from_millisecond(until).map_err(|_| damaged())?,
                    });
                }
                (held.number("Token").ok_or_else(damaged)?, None)
            }
        };
        Ok(Lock::Taken(Lease {
            key: key.to_owned(),
            owner: owner.to_owned(),
            token: u64::try_from(token).map_err(|_| damaged())?,
            expires,
            work,
            quiet_since,
        }))
    }

    pub(super) async fn hold(
        &self,
        lease: &Lease,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, LedgerError> {
        let expires = Lease::end(now, ttl);
        let values = values([
            (":token", n(lease.token)),
            (":until", n(expires.as_millisecond())),
            (":now", n(now.as_millisecond())),
        ]);
        let held = self
            .store
            .update(
                &lock_key(&lease.key),
                "SET #Until = :until",
                Some("#Token = :token AND #Until > :now"),
                values,
                Returns::Nothing,
            )
            .await?;
        match held {
            Some(_) => Ok(Lease {
                expires,
                ..lease.clone()
            }),
            None => Err(LedgerError::LeaseLost(lease.key.clone())),
        }
    }

    pub(super) async fn give_back(
        &self,
        lease: &Lease,
        left: Left,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut values = values([
            (":token", n(lease.token)),
            (":free", n(0)),
            (":now", n(now.as_millisecond())),
        ]);
        let mut expression = "SET #Until = :free, #Freed = :now".to_owned();
        let gone = now.saturating_add(FORGOTTEN).unwrap_or(now);
        // What others have left open must be seen by whoever comes next.
        if left == Left::Settled && lease.quiet_since.is_some() {
            expression.push_str(", #ExpiresAt = :gone");
            values.insert(":gone".to_owned(), n(seconds(gone)));
        }
        if left == Left::Settled {
            expression.push_str(" DELETE #Open :work");
            values.insert(":work".to_owned(), ss([lease.work.to_string()]));
        }
        let held = Some("#Token = :token");
        // One that was lost is somebody else's.
        self.store
            .update(
                &lock_key(&lease.key),
                &expression,
                held,
                values,
                Returns::Nothing,
            )
            .await?;
        Ok(())
    }

    pub(super) async fn keep_letter(
        &self,
        letter: Letter,
        at: Timestamp,
    ) -> Result<Digest, LedgerError> {
        let id = letter.id();
        let key = Item::key(LETTER, &id.to_string());
        let folded = self
            .store
            .fold_in(Item::default(), "Body", "letters", letter.body.as_bytes())
            .await?;
        let mut expression = "SET #At = :at, #From = :from, #Reason = :reason, \
             #Times = if_not_exists(#Times, :none) + :one"
            .to_owned();
        let mut values = values([
            (":at", n(at.as_millisecond())),
            (":from", s(letter.source)),
            (":reason", s(letter.reason)),
            (":none", n(0)),
            (":one", n(1)),
        ]);
        for (name, value) in folded.0 {
            expression.push_str(&format!(", #{name} = :{name}"));
            values.insert(format!(":{name}"), value);
        }
        self.store
            .update(&key, &expression, None, values, Returns::Nothing)
            .await?;
        Ok(id)
    }

    async fn read_letter(&self, item: &Item) -> Result<DeadLetter, LedgerError> {
        let damaged = || self.store.damaged("a dead letter cannot be read");
        let body = self.store.unfold(item, "Body").await?;
        let read = || {
            Some(DeadLetter {
                id: item.text("Item")?.parse().ok()?,
                at: to_millisecond(Timestamp::from_millisecond(item.number("At")?).ok()?),
                times: item.number("Times")?,
                letter: Letter {
                    source: item.text("From")?.to_owned(),
                    reason: item.text("Reason")?.to_owned(),
                    body: body?,
                },
            })
        };
        read().ok_or_else(damaged)
    }

    /// All of them, oldest first.
    pub(super) async fn letters(&self) -> Result<Vec<DeadLetter>, LedgerError> {
        let mut letters = Vec::new();
        for item in self.store.under(LETTER, "0", "g").await? {
            letters.push(self.read_letter(&item).await?);
        }
        letters.sort_by_key(|letter| (letter.at, letter.id));
        Ok(letters)
    }

    pub(super) async fn letter(&self, id: Digest) -> Result<Option<DeadLetter>, LedgerError> {
        let key = Item::key(LETTER, &id.to_string());
        match self.store.get(&self.store.tables.state, &key).await? {
            Some(item) => self.read_letter(&item).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn remove_letter(&self, id: Digest) -> Result<bool, LedgerError> {
        let key = Item::key(LETTER, &id.to_string());
        let removed = self
            .store
            .delete(&key, "attribute_exists(#Key)", values([]))
            .await?;
        Ok(removed == Put::Done)
    }
}
