//! What can happen to what is deployed, each played to its end and looked at from outside.

mod denied;
mod documents;
mod events;
mod expect;
mod fixes;
mod siem;
mod trouble;
mod waiting;

use std::{future::Future, pin::Pin};

use super::{Deployed, Outcome};

/// What a scenario has seen, in words.
pub type Seen = Outcome<String>;

type Played<'a> = Pin<Box<dyn Future<Output = Seen> + 'a>>;

/// One thing that can happen.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What is done, and what must come of it.
    pub what: &'static str,
    play: for<'a> fn(&'a Deployed) -> Played<'a>,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Scenario").field(&self.name).finish()
    }
}

impl Scenario {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|scenario| scenario.name == name)
    }

    /// Plays it.
    ///
    /// # Errors
    /// It did not end as it must.
    pub async fn play(self, deployed: &Deployed) -> Seen {
        (self.play)(deployed).await
    }
}

macro_rules! scenarios {
    ($($module:ident::$name:ident: $what:literal,)*) => {
        /// All scenarios, in the order in which they are played on one organization.
        pub const ALL: [Scenario; [$(stringify!($name)),*].len()] = [$(Scenario {
            name: stringify!($name),
            what: $what,
            play: |deployed| Box::pin($module::$name(deployed)),
        }),*];
    };
}

scenarios! {
    fixes::manual_fix: "A person chooses the custom action: one run fixes the bucket in the member account, records, logs, measures, traces and tells.",
    fixes::automatic_fix: "An imported finding of what is safe to fix is fixed the same way.",
    fixes::undo: "What was fixed is put back as it was.",
    fixes::dry_run: "A plan shows the requests and sends none.",
    fixes::lost_change: "AWS takes the request, and it has no effect: failed, recorded, told; the finding stays open.",
    fixes::failed_verification: "Somebody changes the resource before the verifying read: what was changed is put back by itself, and told.",
    fixes::backup: "Approved, a snapshot is made and waited for in the state machine; approved again, the volume is replaced and seen to be encrypted.",
    waiting::approval: "What may run only after an approval waits in the state machine for a person's answer; the answer ends it.",
    waiting::approval_by_page: "A person says yes on the page that `stanch serve` shows on the audit table; the functions go on at once.",
    waiting::approval_refused: "A person says no with the command: nothing is changed, the reason is recorded and told, the execution ends.",
    waiting::approval_expired: "Nobody answers in time: nothing is changed, it is recorded and told; a late yes counts for nothing.",
    waiting::several_regions: "Findings of one event in two regions: one execution goes on with both, and one that fails stops no other.",
    waiting::stack_update: "The stack is updated while one remediation waits and another one is in the middle: both end, each with one change.",
    events::poisoned_batch: "One message of ten is not an event: the nine are dealt with, the one is put aside.",
    events::replayed: "The same event twice, and an older one after it: nothing is done, told or measured twice.",
    events::malformed: "Truncated, oversized, empty and foreign bodies: each is a dead letter, people are told, the queue is empty.",
    events::foreign_account: "A finding of an account that nobody enrolled is refused, recorded, and touches nothing.",
    events::foreign_bus: "An account of another organization forwards a finding to the bus for members: it does not arrive.",
    denied::wrong_external_id: "The account's trust asks for another external id: nothing is changed, it is recorded and told.",
    denied::missing_permission: "The member role lost a permission: denied, recorded, told, the bucket as it was.",
    denied::role_deleted: "The member role is gone: nothing is changed, it is recorded and told.",
    denied::outside_of_plan: "In the session of a plan AWS denies every other request; in one that asks for everything, what nobody may.",
    denied::tampered_plan: "Somebody puts another plan into the audit log's table: it cannot be approved, is not carried out, and people are told.",
    denied::region_disabled: "A region is not opted in to: its findings fail, are recorded and told; those of other regions are fixed.",
    documents::automation: "With `executor = ssm` the member account's Automation document makes the change, and its end comes as an event.",
    documents::tampered_document: "The document was changed: nothing is started, it is recorded and told.",
    siem::siem: "The options stack hands the audit log on: a fix is two events of OCSF in S3, which first refuses them, and the same ones through Firehose.",
    trouble::kill_switch: "While changes are paused by the function's variable nothing is changed; afterwards the finding is fixed.",
    trouble::topic_refuses: "SNS refuses: the fix stands, and the ledger says that the topic was not told.",
    trouble::table_throttled: "DynamoDB throttles longer than the client tries: the message comes again, and the finding is fixed, once.",
    trouble::table_absent: "The audit log's table is gone: nothing is changed, and the message is kept until it is back.",
    trouble::table_read_only: "The audit log takes no rows: nothing is changed, and the message is kept.",
    trouble::dead_letter_queue: "A message that fails the function each time ends in the queue of dead letters, where an alarm and `stanch doctor` see it.",
    trouble::killed_at_timeout: "Lambda stops the function in the middle: the next run looks first, and ends fixed.",
}
