//! Every failure of the field, and the tests that play it here. The table is also
//! `docs/reference/field-cases.md`.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use stanch_testkit::{assert_generated, repository};

use crate::peers;

struct Failure {
    /// Its name; that of the guard case that plays it, if one does.
    name: &'static str,
    /// What happened to others.
    others: &'static str,
    /// What holds here.
    here: &'static str,
    /// The tests that assert it: a file of `crates/`, `::` and the function.
    tests: &'static [&'static str],
}

/// The test whose cases have names of their own.
const GUARD_CASES: &str = "stanch-guard/tests/it/peers.rs::what_went_wrong_for_others";

/// By what went wrong.
const FIELD: &[(&str, &[Failure])] = &[
    (
        "The wrong target",
        &[
            Failure {
                name: "account-read-from-the-arn",
                others: "The account was taken from the resource's ARN. Those of S3 and IAM have none, and the hub changed what its own credentials reached.",
                here: "Account and region are the finding's.",
                tests: &[
                    "stanch-hub/tests/it/flow.rs::each_finding_is_fixed_in_its_own_account_and_region",
                ],
            },
            Failure {
                name: "accounts-mixed-in-a-batch",
                others: "Where a batch held findings of two accounts, the session in each was given the resources of both.",
                here: "A session is of one account and allows that account's resource alone. A finding that names a resource of another account is put aside.",
                tests: &[
                    "stanch-hub/tests/it/flow.rs::each_finding_is_fixed_in_its_own_account_and_region",
                    "stanch-types/tests/it/fixtures.rs::fixtures_are_read_as_written_beside_them",
                ],
            },
            Failure {
                name: "exclusion-tag-in-every-mode",
                others: "The schedule left alone what a tag excluded; events did not.",
                here: "What is tagged is exempt, whoever brings it.",
                tests: &[GUARD_CASES],
            },
            Failure {
                name: "partition-written-out",
                others: "`arn:aws:` stood in the code, and GovCloud and China did not work.",
                here: "The partition follows from the region, in ARNs, roles and endpoints; no template names one.",
                tests: &[
                    "stanch-types/src/ids.rs::a_region_knows_its_partition",
                    "stanch-types/src/resource.rs::whoever_names_a_resource_it_has_one_id",
                    "stanch-aws/tests/it/sessions.rs::sessions_differ_by_all_that_matters",
                    "stanch-models/tests/it/endpoint.rs::requests_go_where_botocore_sends_them",
                    "stanch-deploy/tests/it/limits.rs::evidence_is_kept_in_every_partition",
                ],
            },
            Failure {
                name: "opt-in-regions-forgotten",
                others: "The list of regions lacked those that an account has to opt into.",
                here: "There is no such list: whatever has the form of a region is one, and has endpoints.",
                tests: &[
                    "stanch-types/src/ids.rs::ids_take_only_what_they_are",
                    "stanch-models/tests/it/endpoint.rs::requests_go_where_botocore_sends_them",
                ],
            },
            Failure {
                name: "global-resource-in-every-region",
                others: "What belongs to the whole account (IAM, CloudFront, settings of S3) was fixed again for every region that reported it.",
                here: "It is fixed once, in the region where it is at home.",
                tests: &[
                    "stanch-hub/tests/it/flow.rs::what_is_global_is_fixed_once_whatever_region_it_is_found_in",
                    "stanch-catalog/tests/it/plans.rs::an_account_blocks_public_access_once",
                ],
            },
        ],
    ),
    (
        "Too much",
        &[
            Failure {
                name: "group-taken-for-the-internet",
                others: "A rule that let all traffic of another security group in was revoked as public.",
                here: "Only what lets the internet in offends.",
                tests: &[
                    "stanch-catalog/src/function/security_group_open_rules.rs::only_the_internet_offends",
                ],
            },
            Failure {
                name: "whole-permission-revoked",
                others: "To close a port, all sources of the permission went, the private ones with it.",
                here: "The rules that offend are revoked, each by its id; the others stay, and an undo makes the same rules again.",
                tests: &[
                    "stanch-catalog/src/function/security_group_open_rules.rs::revoking_closes_the_ports_and_authorizing_restores_the_rules",
                    "stanch-catalog/tests/it/plans.rs::open_ports_close_and_open_again",
                ],
            },
            Failure {
                name: "policy-deleted-for-a-statement",
                others: "One statement of a bucket's policy offended, and the whole policy was deleted.",
                here: "What offends goes, and what is left is left to the byte.",
                tests: &[
                    "stanch-catalog/src/function/policy_without.rs::public_grants_go",
                    "stanch-catalog/src/function/policy_without.rs::only_what_offends_goes_and_it_goes_once",
                ],
            },
            Failure {
                name: "backlog-of-the-first-day",
                others: "All that had piled up before was fixed on the first day: 38 access keys were deactivated at once.",
                here: "So many a day are fixed by themselves; the others wait for people.",
                tests: &[GUARD_CASES],
            },
            Failure {
                name: "deletion-unguarded",
                others: "Instances, snapshots and secrets were deleted, and nothing stood before it.",
                here: "What destroys waits for an approval, whatever policies permit.",
                tests: &[GUARD_CASES],
            },
            Failure {
                name: "destructive-without-second-factor",
                others: "Login profiles were removed, and nothing stood before it.",
                here: "Under the starter policies a person who asks for what destroys needs a second factor, and an approval.",
                tests: &[GUARD_CASES],
            },
            Failure {
                name: "error-taken-for-a-finding",
                others: "A check ended in an API error, which counted as a finding, and a bucket that had nothing wrong was deleted.",
                here: "Nothing is changed, and the remediation has failed.",
                tests: &[
                    "stanch-hub/tests/it/flow.rs::an_error_while_reading_is_no_finding",
                    "stanch-catalog/tests/it/plans.rs::an_error_is_not_a_finding",
                ],
            },
        ],
    ),
    (
        "Success that was none",
        &[
            Failure {
                name: "status-under-another-name",
                others: "`status` was read where the answer had `Status`. Failures counted as success, and findings were closed.",
                here: "What is picked from an answer has to be in the API's model, and only a check that says so is success.",
                tests: &[
                    "stanch-catalog/tests/it/diagnostics.rs::calls",
                    "stanch-ledger/tests/it/transitions.rs::success_is_a_check_that_says_so",
                    "stanch-hub/tests/it/ssm.rs::a_step_that_fails_is_recorded_with_aws_answer",
                ],
            },
            Failure {
                name: "ended-taken-for-fixed",
                others: "All steps had ended, so the finding was resolved. Nobody looked at the resource again.",
                here: "The resource is read again. What does not hold is put back, and the rule that found it looks again, too.",
                tests: &[
                    "stanch-ledger/tests/it/transitions.rs::success_is_a_check_that_says_so",
                    "stanch-lambda/tests/it/control.rs::a_fix_that_does_not_hold_is_put_back",
                    "stanch-notify/tests/it/finding.rs::the_rule_that_found_it_looks_again_by_a_session_for_that_alone",
                ],
            },
            Failure {
                name: "false-as-text-is-true",
                others: "The text `false` counted as true.",
                here: "It is false, and `yes` is no Boolean at all.",
                tests: &["stanch-runbook/src/parameters.rs::values_take_the_declared_type"],
            },
            Failure {
                name: "parameter-of-another-operation",
                others: "`DeleteDBClusterSnapshot` was given the `DBSnapshotIdentifier` that `DeleteDBSnapshot` takes.",
                here: "Documents, files and calls are compared with the API's model before anything is sent. This very call is among those that are refused.",
                tests: &[
                    "stanch-runbook/tests/it/broken.rs::broken_documents_are_told_what_is_wrong",
                    "stanch-catalog/tests/it/files.rs::every_call_fits_the_api_models",
                    "stanch-aws/tests/it/client.rs::a_wrong_call_is_not_sent",
                ],
            },
            Failure {
                name: "resolved-then-overwritten",
                others: "A notification that came later wrote over the status of the finding.",
                here: "A verified fix resolves it. What is refused or skipped leaves a note, and the status as it was.",
                tests: &[
                    "stanch-notify/tests/it/finding.rs::findings_get_a_note_and_are_resolved_by_the_verified_fix_alone",
                ],
            },
        ],
    ),
    (
        "Again and again",
        &[
            Failure {
                name: "fix-sets-off-itself",
                others: "The fix raised the event that began the fix: one bucket, thousands of invocations.",
                here: "What complies is left alone, the same finding begins nothing twice, and what comes back is refused after the third fix.",
                tests: &[
                    "stanch-hub/tests/it/flow.rs::what_is_compliant_is_left_alone",
                    "stanch-hub/tests/it/flow.rs::a_hundred_deliveries_are_one_fix",
                    "stanch-hub/tests/it/flow.rs::what_comes_back_is_not_fought_over",
                ],
            },
            Failure {
                name: "fight-over-a-tag",
                others: "Two tools set one tag to different values, in turns.",
                here: "A tag that is there keeps its value, and what comes back is refused after the third fix.",
                tests: &[
                    "stanch-catalog/src/function/tags_missing.rs::keys_that_are_there_are_left_alone_whatever_their_value",
                    "stanch-hub/tests/it/flow.rs::what_comes_back_is_not_fought_over",
                ],
            },
            Failure {
                name: "retried-without-a-cap",
                others: "Every event began again what had failed before.",
                here: "There is a pause, and no fourth attempt.",
                tests: &[
                    "stanch-hub/tests/it/flow.rs::what_failed_is_tried_again_after_a_pause_but_not_for_ever",
                ],
            },
            Failure {
                name: "execution-without-a-name",
                others: "`StartExecution` had no name: sent again, it began a second execution.",
                here: "The name is that of the work, and an execution that exists is as good.",
                tests: &[
                    "stanch-lambda/src/orchestrator/workflow.rs::an_execution_is_named_after_its_work",
                    "stanch-lambda/tests/it/waiting.rs::an_approval_is_waited_for_by_the_state_machine",
                    "stanch-lambda/tests/it/waiting.rs::an_execution_that_was_started_before_is_as_good",
                ],
            },
            Failure {
                name: "automation-without-a-token",
                others: "`StartAutomationExecution` had no client token: sent again, it began a second execution.",
                here: "Killed at any write, the hub starts one execution.",
                tests: &[
                    "stanch-hub/tests/it/ssm.rs::killed_at_any_write_one_execution_is_started_and_its_end_recorded",
                ],
            },
            Failure {
                name: "in-progress-before-the-start",
                others: "A finding was marked as in progress, then its start failed, and it stood there for days.",
                here: "Whatever is interrupted goes on, and a start that was refused is made later.",
                tests: &[
                    "stanch-hub/tests/it/crash.rs::killed_at_any_write_the_change_is_made_once_and_verified",
                    "stanch-hub/tests/it/ssm.rs::a_start_that_was_throttled_is_made_later",
                    "stanch-lambda/tests/it/waiting.rs::the_sweep_goes_on_with_what_got_stuck_and_finds_what_was_missed",
                ],
            },
            Failure {
                name: "one-queue-for-all-accounts",
                others: "Against throttling, all accounts shared one queue, which let a fix through every three seconds.",
                here: "Accounts take turns, each with places of its own, and a slow one holds up nobody.",
                tests: &[
                    "stanch-hub/src/schedule.rs::accounts_take_turns_and_a_resource_is_changed_once_at_a_time",
                    "stanch-hub/tests/it/flow.rs::one_slow_account_holds_up_nobody",
                ],
            },
            Failure {
                name: "noisy-account",
                others: "An account with many findings left the others nothing.",
                here: "An account has its limits, and its backlog is its own.",
                tests: &[
                    GUARD_CASES,
                    "stanch-hub/src/schedule.rs::a_full_backlog_holds_up_only_its_own_account",
                ],
            },
            Failure {
                name: "iam-throttles-early",
                others: "IAM, one for all regions, asks early to slow down.",
                here: "A request that is throttled is sent again after pauses that grow.",
                tests: &["stanch-aws/tests/it/client.rs::what_passes_is_tried_again"],
            },
            Failure {
                name: "ssm-starts-one-a-second",
                others: "Systems Manager starts one automation a second.",
                here: "Starts keep below that, and one that is refused all the same is made later.",
                tests: &[
                    "stanch-hub/tests/it/ssm.rs::starts_keep_below_the_rate",
                    "stanch-hub/tests/it/ssm.rs::a_start_that_was_throttled_is_made_later",
                ],
            },
        ],
    ),
    (
        "Open when it should be closed",
        &[
            Failure {
                name: "filter-that-fails-lets-pass",
                others: "A filter that failed let everything pass, for safety.",
                here: "An error is a no.",
                tests: &[GUARD_CASES],
            },
            Failure {
                name: "untagged-passes-include-filter",
                others: "What had no tags passed a filter that asked for one.",
                here: "It does not carry the tag, and is refused.",
                tests: &[GUARD_CASES],
            },
            Failure {
                name: "undelivered-approval-is-a-yes",
                others: "Where nobody could be asked for an approval, it counted as given.",
                here: "It counts as refused, and people are told where they can be.",
                tests: &[
                    "stanch-hub/tests/it/approval.rs::an_approval_that_cannot_be_delivered_is_a_no_and_is_told",
                    "stanch/tests/it/linked.rs::an_approval_that_cannot_be_delivered_is_refused",
                ],
            },
            Failure {
                name: "empty-approver-list-means-anyone",
                others: "Where no approvers were listed, anyone could approve.",
                here: "Nobody can: it is refused, by the hub and again by the ledger.",
                tests: &[
                    "stanch-hub/tests/it/approval.rs::an_empty_approver_list_means_nobody",
                    "stanch-ledger/tests/it/transitions.rs::an_empty_approver_list_means_nobody",
                ],
            },
            Failure {
                name: "requester-approves",
                others: "Who asked for a change approved it.",
                here: "Somebody else has to.",
                tests: &[
                    "stanch-hub/tests/it/flow.rs::nobody_approves_their_own_request",
                    "stanch-ledger/tests/it/transitions.rs::each_approves_once_and_in_one_role",
                ],
            },
            Failure {
                name: "planned-again-after-the-click",
                others: "People approved one plan, and after their click another was made and carried out.",
                here: "What was approved is carried out. Where another plan would be made by now, people see the difference and are asked again.",
                tests: &[
                    "stanch-hub/tests/it/approval.rs::the_executed_plan_is_the_approved_one_or_people_see_the_difference",
                    "stanch-hub/tests/it/flow.rs::guarded_waits_for_an_approval_of_this_very_plan",
                ],
            },
            Failure {
                name: "whole-account-trusted",
                others: "The member roles could be entered by anybody in the administrator account.",
                here: "Only the orchestrator's role can, and `stanch doctor` warns of more.",
                tests: &[
                    "stanch-deploy/tests/it/deployed.rs::both_stacks_work_with_iam_enforced",
                    "stanch-operate/tests/it/doctor.rs::issue_1_the_role_cannot_be_assumed",
                ],
            },
            Failure {
                name: "one-session-name-for-all",
                others: "All sessions had the same name.",
                here: "A session has the name of its remediation.",
                tests: &[
                    "stanch-hub/tests/it/flow.rs::the_session_of_a_change_allows_nothing_but_the_plan",
                ],
            },
            Failure {
                name: "no-external-id",
                others: "The member roles asked for no external id.",
                here: "Each account has its own, and no other opens its role.",
                tests: &[
                    "stanch-deploy/tests/it/deployed.rs::both_stacks_work_with_iam_enforced",
                    "stanch/tests/it/emulated.rs::a_wrong_external_id_opens_nothing",
                    "stanch-lambda/tests/it/batch.rs::a_finding_is_fixed_in_one_invocation",
                ],
            },
        ],
    ),
    (
        "Hard to trust",
        &[
            Failure {
                name: "history-overwritten",
                others: "What was recorded was written over.",
                here: "The ledger and the audit log only grow, and whoever changes them by force is found out.",
                tests: &[
                    "stanch-ledger/tests/it/sqlite.rs::events_cannot_be_changed_by_hand",
                    "stanch-ledger/tests/it/attacks.rs::generated_attacks_are_all_found",
                    "stanch-deploy/tests/it/deployed.rs::both_stacks_work_with_iam_enforced",
                ],
            },
            Failure {
                name: "logs-gone-with-the-stack",
                others: "The buckets of the logs were deleted with the stack.",
                here: "Buckets, keys, log groups and tables stay.",
                tests: &["stanch-deploy/tests/it/limits.rs::evidence_is_kept_in_every_partition"],
            },
            Failure {
                name: "nothing-of-before-and-after",
                others: "No state of before and after was kept, and users asked in vain what exactly had been removed.",
                here: "Both are in the ledger, and what goes out of a policy is told as statements.",
                tests: &[
                    "stanch/tests/it/emulated.rs::a_finding_is_fixed_once_and_put_back",
                    "stanch-catalog/src/function/policy_without.rs::what_was_removed_is_told_as_statements",
                ],
            },
            Failure {
                name: "dry-run-prints-a-number",
                others: "A dry run said how many resources it would change.",
                here: "It shows the requests that would be sent, and they are the ones that are sent.",
                tests: &[
                    "stanch-hub/tests/it/flow.rs::a_preview_writes_nothing_and_shows_what_will_be_sent",
                    "stanch/tests/it/emulated.rs::what_people_read",
                ],
            },
            Failure {
                name: "undo-over-newer-changes",
                others: "An undo put back a state of long ago, over what others had changed since.",
                here: "It stops and shows all three states. With force it needs an approval.",
                tests: &[
                    "stanch-hub/tests/it/undo.rs::a_newer_change_is_overwritten_only_with_an_approval",
                    "stanch-hub/tests/it/flow.rs::a_rollback_stops_on_drift",
                ],
            },
        ],
    ),
    (
        "Hard to run",
        &[
            Failure {
                name: "roles-and-documents-by-the-hundred",
                others: "Each region of each account had 156 documents and 79 roles.",
                here: "A member account has six roles at most, once, and 20 documents a region unless more are asked for.",
                tests: &[
                    "stanch-deploy/tests/it/limits.rs::roles_are_few",
                    "stanch-deploy/tests/it/limits.rs::documents_are_few_and_none_is_deleted_for_another",
                    "stanch-deploy/tests/it/plans.rs::idle_costs_little_and_use_is_counted",
                ],
            },
            Failure {
                name: "template-too-large",
                others: "Templates ran into the limits of CloudFormation.",
                here: "With every document there is they are within them, and so are policies.",
                tests: &[
                    "stanch-deploy/tests/it/limits.rs::templates_are_within_limits_with_every_document",
                    "stanch-deploy/tests/it/limits.rs::policies_are_short",
                ],
            },
            Failure {
                name: "documents-deleted-and-made-again",
                others: "Deployments were throttled, since they deleted documents.",
                here: "A document gets a new version instead.",
                tests: &[
                    "stanch-deploy/tests/it/limits.rs::documents_are_few_and_none_is_deleted_for_another",
                ],
            },
            Failure {
                name: "key-in-every-region",
                others: "Each region of each account had a key of its own: $480 a month for 120 accounts in 4 regions.",
                here: "Who names a key that there is gets none made. By default there is one, and the plan says what all of them cost.",
                tests: &[
                    "stanch-deploy/tests/it/limits.rs::who_brings_a_key_gets_none",
                    "stanch-deploy/tests/it/plans.rs::idle_costs_little_and_use_is_counted",
                ],
            },
            Failure {
                name: "deleted-policy-runs-on",
                others: "Policies were deleted in Git, and their functions went on.",
                here: "A policy is a text and nothing more: without it nothing is allowed, and a service reads its rules again.",
                tests: &[
                    GUARD_CASES,
                    "stanch/tests/it/served.rs::the_guards_files_are_read_again",
                ],
            },
            Failure {
                name: "notification-that-says-little",
                others: "Notifications had neither the account's alias nor a link to the resource nor its state.",
                here: "They have all three.",
                tests: &[
                    "stanch-hub/tests/it/tell.rs::a_message_says_where_the_finding_lives_and_whether_there_is_a_way_back",
                    "stanch-notify/tests/it/bodies.rs::slack",
                ],
            },
            Failure {
                name: "told-with-the-members-credentials",
                others: "Central notifications were sent with the credentials of the member account.",
                here: "The administrator's own function sends them, and its role may.",
                tests: &[
                    "stanch-lambda/tests/it/batch.rs::a_finding_is_fixed_in_one_invocation",
                    "stanch-deploy/tests/it/permissions.rs::the_administrators_roles_may_do_what_they_do_and_no_more",
                ],
            },
            Failure {
                name: "exempt-by-arn-in-every-partition",
                others: "Users asked to exclude resources by ARN and pattern.",
                here: "Exemptions go by ARNs with `*` and `?`.",
                tests: &[GUARD_CASES],
            },
            Failure {
                name: "suppressed-finding-fixed",
                others: "Users asked that findings which they had suppressed be left alone.",
                here: "They are, and so are archived ones.",
                tests: &[
                    "stanch/tests/it/bad_input.rs::findings_that_need_nothing",
                    "stanch-types/tests/it/fixtures.rs::fixtures_are_read_as_written_beside_them",
                ],
            },
            Failure {
                name: "opt-in-per-account",
                others: "Users asked to take accounts in one by one.",
                here: "Policies permit account by account, and rings lead from plans to approvals to fixes.",
                tests: &[
                    GUARD_CASES,
                    "stanch-hub/tests/it/rollout.rs::an_account_goes_from_plans_to_approvals_to_automatic",
                ],
            },
            Failure {
                name: "no-deadline",
                others: "Users asked for deadlines: what nobody has fixed by then is fixed.",
                here: "Policies know how old a finding is.",
                tests: &["stanch-guard/tests/it/answers.rs::roles_severity_age_and_time_count"],
            },
            Failure {
                name: "no-ticket",
                others: "Users asked for tickets.",
                here: "Jira gets an issue, ServiceNow a change request, and both are found again and closed.",
                tests: &[
                    "stanch-notify/tests/it/channels.rs::an_issue_is_made_once_and_then_commented_and_done",
                    "stanch-notify/tests/it/channels.rs::a_change_request_is_made_when_an_approval_is_asked",
                    "stanch-notify/tests/it/channels.rs::it_is_found_again_and_closed_by_the_states_that_the_instance_asks_for",
                ],
            },
            Failure {
                name: "who-changed-it",
                others: "Users asked who had changed a resource.",
                here: "Who asked for a change of Stanch's stands in the ledger, and CloudTrail has its requests under a session of its own. Who else has changed something is not looked up.",
                tests: &[
                    "stanch/tests/it/emulated.rs::a_finding_is_fixed_once_and_put_back",
                    "stanch-operate/tests/it/logs.rs::every_source_in_the_order_of_time",
                ],
            },
            Failure {
                name: "own-remediation-needs-a-deployment",
                others: "Users asked for remediations of their own without another deployment.",
                here: "On one machine a file that is proved is enough. The functions in AWS get theirs with their archive, which is deployed again.",
                tests: &[
                    "stanch/tests/it/emulated.rs::files_of_ones_own_run_once_they_are_proved",
                    "stanch-lambda/src/world.rs::the_archive_brings_models_and_remediations_of_ones_own",
                ],
            },
        ],
    ),
];

/// What no test plays: its name, what happened to others, and why.
const UNPLAYED: &[(&str, &str, &str)] = &[
    (
        "half-hour-deployments",
        "A deployment took half an hour.",
        "How long CloudFormation takes only AWS can show; an emulator's time says nothing of it.",
    ),
    (
        "exempt-by-regex",
        "Users asked to exclude resources by regular expressions.",
        "There are none: exemptions and policies have `*`, exemptions `?` as well.",
    ),
    (
        "terraform",
        "Users asked for Terraform.",
        "There is none: Stanch is deployed by CloudFormation.",
    ),
];

fn failures() -> impl Iterator<Item = &'static Failure> {
    FIELD.iter().flat_map(|(_, failures)| *failures)
}

/// True if `text` has a test with this name.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = line
            .strip_prefix("fn ")
            .and_then(|line| line.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with('('))
    };
    let is_test = |at: usize| {
        let mut above = lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        above.any(|line| *line == "#[test]" || line.starts_with("#[tokio::test"))
    };
    (0..lines.len()).any(|at| begins(lines[at]) && is_test(at))
}

#[test]
fn every_failure_is_played_by_tests_that_there_are() {
    let names = failures().map(|failure| failure.name);
    let mut seen = BTreeSet::new();
    for name in names.chain(UNPLAYED.iter().map(|(name, ..)| *name)) {
        assert!(seen.insert(name), "`{name}` twice");
        let is_kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.chars().all(is_kebab), "{name}");
    }
    for Failure { name, tests, .. } in failures() {
        assert!(!tests.is_empty(), "{name}");
        for test in *tests {
            let (file, function) = test.split_once("::").unwrap();
            let path = repository().join("crates").join(file);
            let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(has_test(&text, function), "{name}: no test `{test}`");
        }
        let named = tests.contains(&GUARD_CASES);
        assert_eq!(named, peers::is_case(name), "{name}: is it a guard case?");
    }
}

#[test]
fn only_tests_are_found() {
    let check = |text: &str, expected: bool| assert_eq!(has_test(text, "name"), expected, "{text}");
    check("#[test]\nfn name() {}", true);
    check(
        "    /// Why.\n    #[test]\n    // How.\n    fn name(x in any()) {}",
        true,
    );
    check(
        "#[tokio::test(start_paused = true)]\nasync fn name() {}",
        true,
    );
    check("fn name() {}", false);
    check("#[test]\nfn other() {}\nfn name() {}", false);
    check("#[test]\nfn name_of_another() {}", false);
    check("#[test]\nfn another_name() {}", false);
}

#[test]
fn the_generated_table_of_the_field_is_documented() {
    let mut text = String::from(
        "<!-- Written by `crates/stanch-guard/tests/it/field.rs`; `cargo xtask codegen` writes it again. -->\n# Every failure of the field\n\nWhat went wrong in other systems that find or fix the same, and the tests that play it here. What the guard alone can play is one of its [cases](guard-cases.md), by the same name.\n",
    );
    for (heading, failures) in FIELD {
        let _ = write!(
            text,
            "\n## {heading}\n\n| failure | what happened to others | what holds here | played by |\n|---|---|---|---|\n"
        );
        for failure in *failures {
            let tests: Vec<String> = failure.tests.iter().map(|test| shown(test)).collect();
            let Failure {
                name, others, here, ..
            } = failure;
            let tests = tests.join("<br>");
            let _ = writeln!(text, "| `{name}` | {others} | {here} | {tests} |");
        }
    }
    text.push_str(
        "\n## Not played\n\n| failure | what happened to others | why |\n|---|---|---|\n",
    );
    for (name, others, why) in UNPLAYED {
        let _ = writeln!(text, "| `{name}` | {others} | {why} |");
    }
    assert_generated("docs/reference/field-cases.md", &text);
}

/// Crate, file and function, for people.
fn shown(test: &str) -> String {
    let (file, function) = test.split_once("::").unwrap();
    let (package, path) = file.split_once('/').unwrap();
    let place = format!("`{package}` [{path}](../../crates/{file}) `{function}`");
    match test {
        GUARD_CASES => format!("{place}, the [case](guard-cases.md) of this name"),
        _ => place,
    }
}
