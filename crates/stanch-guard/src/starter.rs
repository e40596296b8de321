//! The policies that `stanch policy init` writes: nothing runs by itself.

/// The starter policies.
#[must_use]
pub const fn starter() -> &'static str {
    STARTER
}

const STARTER: &str = r#"// What Stanch may do. Written in Cedar: https://docs.cedarpolicy.com/policies/syntax-policy.html
//
// Three questions are asked of each change, in this order; the first that is permitted wins:
//   Run::"automatically"   may it run by itself?
//   Run::"onRequest"       may it run because a person asked for it?
//   Run::"afterApproval"   may it run once people have approved its plan?
// What no policy permits is refused. A `forbid` always wins, and a policy that fails is a no. What is
// `destructive` never runs without an approval, whatever stands here.
//
// `stanch policy schema` lists what policies can speak of, `stanch policy check` checks them,
// `stanch policy explain FINDING` says which of them decide, `stanch policy test FILE` tests them.

// People may run what no user notices, and what some may.
@id("requests")
permit (
  principal is Person,
  action in [Action::"safe", Action::"guarded"],
  resource
)
when { context.run == Run::"onRequest" };

// What Stanch has changed, people may take back, at any time.
@id("undo")
permit (principal is Person, action, resource)
when { context.undo && context.run == Run::"onRequest" };

// Everything may run once its plan is approved.
@id("approvals")
permit (principal, action, resource)
when { context.run == Run::"afterApproval" };

// Nothing is changed outside the change windows (`guard.calendars`); it waits for the next.
@id("windows")
forbid (principal, action, resource)
unless { context.calendars.open || context.undo };

// What cannot be taken back has to be asked for with a second factor, where a person asks.
@id("mfa")
forbid (
  principal is Person,
  action in Action::"destructive",
  resource
)
unless { principal.mfa };

// ---- What you may want next. Nothing below is in force. ----

// What no user can notice runs by itself:
//
// @id("safe")
// permit (principal, action in Action::"safe", resource)
// when { context.run == Run::"automatically" };

// Public buckets are closed by themselves, but not in production, and not where a policy serves them:
//
// @id("public-buckets")
// permit (principal, action == Action::"S3BlockPublicAccess", resource)
// when { context.run == Run::"automatically" }
// unless {
//   resource in OrganizationalUnit::"root/prod" ||
//   (context.impact has publicPolicy && context.impact.publicPolicy)
// };

// A tag that keeps hands off. A finding that does not tell the tags proves nothing: not by itself then.
//
// @id("hands-off")
// forbid (principal, action, resource)
// when { resource.hasTag("stanch") && resource.getTag("stanch") == "off" };
//
// @id("hands-off-unknown")
// forbid (principal, action, resource)
// when { context.run == Run::"automatically" && !resource.tagsKnown };

// No more than twenty changes a day by themselves in one account:
//
// @id("twenty-a-day")
// forbid (principal, action, resource)
// when { context.run == Run::"automatically" && context.today.account >= 20 };
"#;
