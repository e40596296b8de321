# What the emulators forget or refuse where AWS does not: each function below mends one such thing,
# and says what AWS does and where that is written. `run.py` calls those of the emulator that it runs;
# the report lists them. What an emulator lacks, a stand-in answers: `../data/stand-ins.json` lists those,
# and which of them are an operation that is added here, because it changes the emulator's own resources.

import functools
import importlib
import json
import os
import time


def service(name):
    return importlib.import_module(f"ministack.services.{name}")


def wrap(module, name, around):
    """Puts `around(original, *arguments)` in place of a function, and of its entry in a table."""
    original = getattr(module, name)

    @functools.wraps(original)
    def wrapped(*arguments, **named):
        return around(original, *arguments, **named)

    setattr(module, name, wrapped)
    tables = [value for value in vars(module).values() if isinstance(value, dict)]
    tables += [inner for table in tables for inner in table.values() if isinstance(inner, dict)]
    for handlers in tables:
        for key in [key for key, value in handlers.items() if value is original]:
            handlers[key] = wrapped


def member(xml, name, value):
    """The answer with one member of its only resource set."""
    begin, end = f"<{name}>", f"</{name}>"
    if begin in xml:
        head, rest = xml.split(begin, 1)
        return f"{head}{begin}{value}{end}{rest.split(end, 1)[1]}"
    return f"{xml}{begin}{value}{end}"


def ministack_iam_resources():
    """IAM is asked about the group in AttachGroupPolicy and AddUserToGroup, about a snapshot or an
    image without an account in its ARN, and about the key behind an alias
    (https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html);
    MiniStack asks about the policy or the user, an ARN with an account, and the alias."""
    from ministack.core import iam_actions

    def resource(original, kind, method, path, headers, body, query, region, account):
        arn = original(kind, method, path, headers, body, query, region, account)
        if kind == "iam" and "GroupName" in query:
            return "*"
        if kind == "ec2" and (":snapshot/" in arn or ":image/" in arn):
            return arn.replace(f":{account}:", "::")
        return "*" if kind == "kms" and ":alias/" in arn else arn

    wrap(iam_actions, "extract_resource_arn", resource)


def ministack_keys_of_nobody():
    """ListAccessKeys of a user who is not there is NoSuchEntity
    (https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAccessKeys.html); MiniStack lists none."""
    iam = service("iam")

    def listed(original, p):
        name = iam._p(p, "UserName")
        if name and name not in iam._users:
            return iam._error(404, "NoSuchEntity", f"The user with name {name} cannot be found.", ns="iam")
        return original(p)

    wrap(iam, "_list_access_keys", listed)


def ministack_elasticache():
    """ModifyCacheCluster and ModifyReplicationGroup change AutoMinorVersionUpgrade,
    TransitEncryptionEnabled and, of the nodes too, SnapshotRetentionLimit, and DescribeCacheClusters
    tells them (https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ModifyReplicationGroup.html);
    MiniStack drops them."""
    cache = service("elasticache")

    def keep(record, p):
        for name in ("AutoMinorVersionUpgrade", "TransitEncryptionEnabled"):
            if value := cache._p(p, name):
                record[name] = value == "true"
        if mode := cache._p(p, "TransitEncryptionMode"):
            record["TransitEncryptionMode"] = mode
        if days := cache._p(p, "SnapshotRetentionLimit"):
            record["SnapshotRetentionLimit"] = int(days)

    def cluster(original, p):
        answer = original(p)
        if record := cache._clusters.get(cache._p(p, "CacheClusterId")):
            keep(record, p)
        return answer

    def group(original, p):
        answer = original(p)
        name = cache._p(p, "ReplicationGroupId")
        if record := cache._replication_groups.get(name):
            keep(record, p)
        for record in cache._clusters.values():
            if record.get("ReplicationGroupId") == name:
                keep(record, p)
        return answer

    def shown(original, record):
        upgraded = str(record.get("AutoMinorVersionUpgrade", True)).lower()
        return member(original(record), "AutoMinorVersionUpgrade", upgraded)

    wrap(cache, "_create_cache_cluster", cluster)
    wrap(cache, "_modify_cache_cluster", cluster)
    wrap(cache, "_modify_replication_group", group)
    wrap(cache, "_cluster_xml_inner", shown)


def ministack_codebuild():
    """A project has logsConfig (https://docs.aws.amazon.com/codebuild/latest/APIReference/API_UpdateProject.html);
    MiniStack drops it."""
    build = service("codebuild")

    def keep(original, data):
        answer = original(data)
        if "logsConfig" in data and (project := build._projects.get(data.get("name", ""))):
            project["logsConfig"] = data["logsConfig"]
        return answer

    def shown(original, project):
        kept = {name: project[name] for name in ("logsConfig",) if name in project}
        return original(project) | kept

    wrap(build, "_create_project", keep)
    wrap(build, "_update_project", keep)
    wrap(build, "_project_shape", shown)


def ministack_cloudtrail():
    """CreateTrail keeps CloudWatchLogsLogGroupArn and CloudWatchLogsRoleArn
    (https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_CreateTrail.html); MiniStack does
    so in UpdateTrail only."""
    trails = service("cloudtrail")

    def keep(original, body):
        answer = original(body)
        if record := trails._trails.get(body.get("Name", "").strip()):
            names = ("CloudWatchLogsLogGroupArn", "CloudWatchLogsRoleArn")
            record.update({name: body[name] for name in names if body.get(name)})
        return answer

    wrap(trails, "_create_trail", keep)


def ministack_rds():
    """ModifyDBInstance changes the port (DBPortNumber), and at once the retention between two numbers
    of days, RebootDBInstance brings parameters into force (in-sync), and ModifyDBCluster exports logs
    (CloudwatchLogsExportConfiguration)
    (https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Overview.DBInstance.Modifying.html);
    MiniStack waits for the maintenance window with the one, and drops the others."""
    rds = service("rds")

    def instance(original, p):
        record = rds._resolve_instance(rds._p(p, "DBInstanceIdentifier"))
        days = rds._p(p, "BackupRetentionPeriod")
        at_once = record and days and int(days) > 0 and record.get("BackupRetentionPeriod", 0) > 0
        answer = original(p)
        if at_once:
            record["BackupRetentionPeriod"] = int(days)
            record.get("PendingModifiedValues", {}).pop("BackupRetentionPeriod", None)
        if record and (port := rds._p(p, "DBPortNumber")):
            record.setdefault("Endpoint", {})["Port"] = int(port)
        return answer

    def rebooted(original, p):
        answer = original(p)
        record = rds._resolve_instance(rds._p(p, "DBInstanceIdentifier"))
        for group in (record or {}).get("DBParameterGroups", []):
            group["ParameterApplyStatus"] = "in-sync"
        return answer

    def types(p, deed):
        prefix = f"CloudwatchLogsExportConfiguration.{deed}LogTypes"
        return rds._parse_member_list(p, prefix)

    def cluster(original, p):
        answer = original(p)
        if record := rds._clusters.get(rds._p(p, "DBClusterIdentifier")):
            kept = record.get("EnabledCloudwatchLogsExports", [])
            kept = [kind for kind in kept if kind not in types(p, "Disable")]
            added = [kind for kind in types(p, "Enable") if kind not in kept]
            record["EnabledCloudwatchLogsExports"] = kept + added
        return answer

    def created(original, p):
        answer = original(p)
        if record := rds._clusters.get(rds._p(p, "DBClusterIdentifier")):
            record["EnabledCloudwatchLogsExports"] = rds._parse_member_list(p, "EnableCloudwatchLogsExports")
        return answer

    def shown(original, record):
        kinds = record.get("EnabledCloudwatchLogsExports", [])
        kinds = "".join(f"<member>{kind}</member>" for kind in kinds)
        return member(original(record), "EnabledCloudwatchLogsExports", kinds)

    wrap(rds, "_modify_db_instance", instance)
    wrap(rds, "_reboot_db_instance", rebooted)
    wrap(rds, "_create_db_cluster", created)
    wrap(rds, "_modify_db_cluster", cluster)
    wrap(rds, "_cluster_xml", shown)


def ministack_documentdb():
    """ModifyDBCluster of DocumentDB changes DBClusterParameterGroupName
    (https://docs.aws.amazon.com/documentdb/latest/developerguide/API_ModifyDBCluster.html); MiniStack
    drops it."""
    docdb = service("documentdb")

    def modify(original, params):
        record = docdb._clusters.get(docdb._evaluate_params(params, "DBClusterIdentifier"))
        group = docdb._evaluate_params(params, "DBClusterParameterGroupName")
        if record and group:
            record["DBClusterParameterGroup"] = group
        return original(params)

    wrap(docdb, "_modify_db_cluster", modify)


def ministack_tags_of_nothing():
    """ListTagsForResource of a resource that is not there is an error: DBInstanceNotFound,
    ClusterNotFoundException, ResourceNotFoundException
    (https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ListTagsForResource.html); MiniStack
    answers that it has no tags."""

    def is_there(module, arn):
        name = arn.split(":")[-1].split("/")[-1]
        stores = [store for key, store in vars(module).items() if key != "_tags" and hasattr(store, "items")]
        stores = [store for store in stores if type(store).__name__.startswith("Account")]
        records = [(key, record) for store in stores for key, record in store.items()]
        return any(key == name or isinstance(record, dict) and arn in record.values() for key, record in records)

    def refusing(module, arn_of, refuse):
        def listed(original, given):
            arn = arn_of(given)
            return original(given) if is_there(module, arn) else refuse(arn)

        return listed

    rds, ecs, athena, iot = (service(name) for name in ("rds", "ecs", "athena", "iot"))
    gone = "there is no such resource"
    wrap(
        rds,
        "_list_tags",
        refusing(rds, lambda p: rds._p(p, "ResourceName"), lambda arn: rds._error("DBInstanceNotFound", gone, 404)),
    )
    for module, key, code in (
        (ecs, "resourceArn", "ClusterNotFoundException"),
        (athena, "ResourceARN", "ResourceNotFoundException"),
    ):
        wrap(
            module,
            "_list_tags_for_resource",
            refusing(
                module,
                lambda data, key=key: data.get(key, ""),
                lambda arn, module=module, code=code: module.error_response_json(code, gone, 400),
            ),
        )
    wrap(iot, "_list_tags_for_resource", lambda original, qp: iot._tag_target_error(qp.get("resourceArn"), True) or original(qp))


def ministack_rotation():
    """A secret that was rotated tells when (LastRotatedDate), and RotateImmediately false does not
    rotate it now (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html);
    MiniStack keeps no date. It lies ahead like the clock of whoever asks, `CLOCK_AHEAD` seconds."""
    secrets = service("secretsmanager")

    def rotate(original, data):
        answer = original(data)
        _, secret = secrets._resolve(data.get("SecretId"))
        if secret and data.get("RotateImmediately", True):
            secret["LastRotatedDate"] = int(time.time()) + int(os.environ.get("CLOCK_AHEAD", "0"))
        return answer

    def described(original, data):
        answer = original(data)
        _, secret = secrets._resolve(data.get("SecretId"))
        if secret and "LastRotatedDate" in secret:
            told = json.loads(answer[2]) | {"LastRotatedDate": secret["LastRotatedDate"]}
            return answer[0], answer[1], json.dumps(told).encode()
        return answer

    wrap(secrets, "_rotate_secret", rotate)
    wrap(secrets, "_describe_secret", described)


def ministack_managed_instances():
    """An instance whose profile lets the agent reach Systems Manager is managed
    (https://docs.aws.amazon.com/systems-manager/latest/userguide/setup-instance-permissions.html);
    MiniStack counts those that run in Docker."""
    ssm, ec2 = service("ssm"), service("ec2")

    def managed(original):
        profiled = {name for name in ec2._instances if ec2._find_active_iam_instance_profile_association(name)}
        return original() | profiled

    wrap(ssm, "_managed_instance_ids", managed)


def ministack_stacks():
    """A stack keeps a role's PermissionsBoundary, an event bus's Policy and a function's
    ReservedConcurrentExecutions, and takes the text of a parameter for the number that a property is
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-role.html);
    MiniStack's CloudFormation drops them, and leaves the text."""
    provisioners = service("cloudformation.provisioners")
    iam, events, functions = (service(name) for name in ("iam", "eventbridge", "lambda_svc"))

    def role(original, logical_id, props, stack_name):
        answer = original(logical_id, props, stack_name)
        if boundary := props.get("PermissionsBoundary"):
            iam._put_role_permissions_boundary({"RoleName": [answer[0]], "PermissionsBoundary": [boundary]})
        return answer

    def bus(original, logical_id, props, stack_name):
        answer = original(logical_id, props, stack_name)
        if policy := props.get("Policy"):
            events._event_bus_policies[answer[0]] = policy
        return answer

    def function(original, logical_id, props, stack_name):
        answer = original(logical_id, props, stack_name)
        if (reserved := props.get("ReservedConcurrentExecutions")) is not None:
            functions._functions[answer[0]]["concurrency"] = int(reserved)
        return answer

    def source(original, logical_id, props, stack_name):
        scaling = {name: int(value) for name, value in props.get("ScalingConfig", {}).items()}
        return original(logical_id, {**props, "ScalingConfig": scaling} if scaling else props, stack_name)

    wrap(provisioners, "_iam_role_create", role)
    wrap(provisioners, "_lambda_esm_create", source)
    wrap(provisioners, "_eb_event_bus_create", bus)
    wrap(provisioners, "_lambda_create", function)


def ministack_failures_of_streams():
    """A batch of a table's stream comes again from the first record on that the function names as failed
    (https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html); MiniStack takes it
    for done. Here all of it comes again."""
    functions = service("lambda_svc")

    def executed(original, func, event):
        result = original(func, event)
        records = event.get("Records") if isinstance(event, dict) else None
        body = result.get("body")
        of_a_stream = bool(records) and records[0].get("eventSource") == "aws:dynamodb"
        if of_a_stream and isinstance(body, dict) and body.get("batchItemFailures"):
            return {**result, "error": True, "body": {"errorType": "BatchItemFailures"}}
        return result

    wrap(functions, "_execute_function", executed)


def ministack_region_in_conditions():
    """A condition may ask for AWS::Region, AWS::AccountId or AWS::Partition
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/pseudo-parameter-reference.html);
    MiniStack's CloudFormation takes the name for a text there."""
    from ministack.core.responses import get_account_id, get_region

    def evaluated(original, template, params):
        pseudo = {"AWS::Region": get_region(), "AWS::AccountId": get_account_id(), "AWS::Partition": "aws"}
        return original(template, {**params, **{name: {"Value": value} for name, value in pseudo.items()}})

    for module in ("engine", "handlers", "changesets", "stacks", "provisioners"):
        module = service(f"cloudformation.{module}")
        if hasattr(module, "_evaluate_conditions"):
            wrap(module, "_evaluate_conditions", evaluated)


def ministack_secrets_of_stacks():
    """Ref of a secret in a template is its ARN
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-secretsmanager-secret.html);
    in MiniStack it is its name, and a policy that refers to it allows nothing."""
    provisioners, secrets = service("cloudformation.provisioners"), service("secretsmanager")

    def created(original, logical_id, props, stack_name):
        name, attributes = original(logical_id, props, stack_name)
        return attributes["Arn"], attributes

    def name_of(arn):
        return next((name for name, secret in secrets._secrets.items() if secret["ARN"] == arn), arn)

    def updated(original, physical_id, old, new, stack_name, logical_id=None):
        answer = original(name_of(physical_id), old, new, stack_name, logical_id)
        return (answer[1]["Arn"], answer[1]) if isinstance(answer, tuple) else answer

    wrap(provisioners, "_sm_secret_create", created)
    wrap(provisioners, "_sm_secret_update", updated)
    wrap(provisioners, "_sm_secret_delete", lambda original, physical_id, props: original(name_of(physical_id), props))


def ministack_buckets_of_others():
    """A bucket's policy may let a role of another account in
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-walkthroughs-managing-access-example2.html);
    MiniStack takes whoever comes for the root of the other account."""
    from ministack.core import iam_actions, iam_evaluator
    from ministack.core.responses import get_region, request_scope

    s3 = service("s3")

    def allows(original, owner, bucket, key, method, query, caller, headers=None):
        if original(owner, bucket, key, method, query, caller, headers):
            return True
        policy = s3._bucket_policies.get_scoped(owner, None, bucket)
        restricted = s3._public_access_blocked(owner, bucket, "RestrictPublicBuckets")
        who = iam_evaluator.caller_arn()
        if not policy or not caller or caller not in who or restricted and s3._policy_is_public(policy):
            return False
        path = f"/{bucket}/{key}" if key else f"/{bucket}"
        reads = method in ("GET", "HEAD")
        name = iam_actions._s3_action(method, path, query) or ("GetObject" if reads else "PutObject")
        action = f"s3:{name}"
        with request_scope(owner, get_region()):
            facts = iam_actions.s3_service_context(action, query, path, headers or {})
        context = iam_evaluator.EvalContext(
            principal_arn=who,
            principal_type="AssumedRole",
            principal_account=caller,
            action=action,
            resource_arn=f"arn:aws:s3:::{path[1:]}",
            region=get_region(),
            service_context={name.lower(): value for name, value in facts.items()},
        )
        return iam_evaluator.evaluate_resource_policy(policy, context).decision == "Allow"

    wrap(s3, "_foreign_bucket_allows", allows)


def ministack_buses_of_others():
    """The target of a rule may be an event bus of another account or region, if the rule's role may put
    events there and the bus's policy lets it
    (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html); MiniStack drops such
    events. The event keeps the account and region where it arose."""
    from ministack.core import iam_evaluator
    from ministack.core.responses import get_account_id, get_region, request_scope

    events = service("eventbridge")

    def dispatch(original, spec, event, rule, path, payload=None):
        account, region = get_account_id(), get_region()
        if (spec.account_id, spec.region) == (account, region):
            return original(spec, event, rule, path, payload)
        bus = spec.resource.split("/", 1)[1]
        targets = events._targets.get(events._rule_key(rule["Name"], rule.get("EventBusName", "default")), [])
        role = next((target.get("RoleArn", "") for target in targets if target.get("Arn") == str(spec)), "")
        context = iam_evaluator.EvalContext(
            principal_arn=role,
            principal_type="AssumedRole",
            principal_account=account,
            action="events:PutEvents",
            resource_arn=str(spec),
            region=spec.region,
        )
        own = iam_evaluator._gather_role_policies(role.rsplit("/", 1)[-1], account)
        with request_scope(spec.account_id, spec.region):
            policy = events._event_bus_policies.get(bus)
            allowed = (
                bus in events._event_buses
                and iam_evaluator.evaluate(context, own).decision == "Allow"
                and iam_evaluator.resource_policy_allows(policy, context, spec.account_id == account)
            )
            if allowed:
                events._dispatch_event({**event, "EventBusName": bus})

    wrap(events, "_dispatch_to_event_bus", dispatch)


def ministack_organization():
    """The accounts of an organization share aws:PrincipalOrgID
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html); in MiniStack
    each is its own. Here all are of one but those that `FOREIGN_ACCOUNTS` names."""
    from ministack.core import iam_evaluator

    foreign, organization = os.environ.get("FOREIGN_ACCOUNTS", "").split(), "o-stanchtests"
    iam_evaluator._principal_org_id = lambda account: None if account in foreign else organization
    organizations = service("organizations")

    def ensured(original):
        original()
        own = organizations._orgs["self"]
        known = own["Id"]
        own.update({name: value.replace(known, organization) for name, value in own.items() if type(value) is str})

    wrap(organizations, "_ensure_org", ensured)


def ministack_stack_sets():
    """A stack set puts a template into accounts, region by region
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacksets-concepts.html), with the leave of
    the organization (ActivateOrganizationsAccess); MiniStack has none of that. Here the accounts have to be
    named, and an operation does what it is asked for one stack at a time."""
    import asyncio

    from ministack.core.responses import get_account_id, request_scope

    stacks, helpers = service("cloudformation"), service("cloudformation.helpers")
    handlers = service("cloudformation.handlers")
    trusted, sets, operations = set(), {}, {}

    def found(original, params):
        return (params["Template"], None) if "Template" in params else original(params)

    wrap(handlers, "_resolve_template", found)

    def answer(operation, inner=""):
        return helpers._xml(200, f"{operation}Response", f"<{operation}Result>{inner}</{operation}Result>")

    def listed(params, name):
        numbered = [key for key in params if key.startswith(f"{name}.member.")]
        return [params[key][0] for key in sorted(numbered, key=lambda key: int(key.rsplit(".", 1)[1]))]

    async def put(account, region, name, asked):
        with request_scope(account, region):
            status, _, body = handlers._create_stack({**asked, "StackName": [name]})
            if status != 200:
                return "FAILED", body.decode()
            while (stack := stacks._stacks[name])["StackStatus"].endswith("IN_PROGRESS"):
                await asyncio.sleep(0.1)
            if stack["StackStatus"] == "CREATE_COMPLETE":
                return "SUCCEEDED", ""
            return "FAILED", stack.get("StackStatusReason") or stack["StackStatus"]

    async def operate(operation, name, asked, accounts, regions):
        for region in regions:
            for account in accounts:
                outcome = await put(account, region, f"StackSet-{name}", asked)
                operation["results"].append((account, region, *outcome))
        ended = {outcome for _, _, outcome, _ in operation["results"]}
        operation["status"] = "FAILED" if "FAILED" in ended else "SUCCEEDED"

    def of(params):
        return get_account_id(), params["StackSetName"][0]

    def create(params):
        template, error = helpers._resolve_template(params)
        if error:
            return error
        kept = {key: value for key, value in params.items() if key.startswith(("Parameters.", "Capabilities."))}
        sets[of(params)] = {**kept, "Template": template}
        return answer("CreateStackSet", f"<StackSetId>{params['StackSetName'][0]}</StackSetId>")

    def describe(params):
        if of(params) not in sets:
            return helpers._error("StackSetNotFoundException", "StackSet not found", 404)
        return answer("DescribeStackSet", f"<StackSet><StackSetName>{params['StackSetName'][0]}</StackSetName></StackSet>")

    def instances(params):
        accounts = listed(params, "Accounts") or listed(params, "DeploymentTargets.Accounts")
        if not accounts:
            return helpers._error("ValidationError", "whole organizational units are not played here")
        if "DeploymentTargets.OrganizationalUnitIds.member.1" in params and get_account_id() not in trusted:
            return helpers._error("ValidationError", "You must enable organizations access to operate a service managed stack set")
        operation = {"status": "RUNNING", "results": []}
        name, number = params["StackSetName"][0], str(len(operations))
        operations[number] = operation
        work = operate(operation, name, sets[of(params)], accounts, listed(params, "Regions"))
        operation["work"] = asyncio.get_event_loop().create_task(work)
        return answer("CreateStackInstances", f"<OperationId>{number}</OperationId>")

    def operated(params):
        status = operations[params["OperationId"][0]]["status"]
        return answer("DescribeStackSetOperation", f"<StackSetOperation><Status>{status}</Status></StackSetOperation>")

    def results(params):
        members = "".join(
            f"<member><Account>{account}</Account><Region>{region}</Region><Status>{status}</Status>"
            f"<StatusReason>{helpers._esc(reason)}</StatusReason></member>"
            for account, region, status, reason in operations[params["OperationId"][0]]["results"]
        )
        return answer("ListStackSetOperationResults", f"<Summaries>{members}</Summaries>")

    def activate(_):
        trusted.add(get_account_id())
        return answer("ActivateOrganizationsAccess")

    def access(_):
        status = "ENABLED" if get_account_id() in trusted else "DISABLED"
        return answer("DescribeOrganizationsAccess", f"<Status>{status}</Status>")

    stacks._ACTION_HANDLERS.update({
        "CreateStackSet": create,
        "DescribeStackSet": describe,
        "CreateStackInstances": instances,
        "DescribeStackSetOperation": operated,
        "ListStackSetOperationResults": results,
        "ActivateOrganizationsAccess": activate,
        "DescribeOrganizationsAccess": access,
    })


def ministack_paths_of_states():
    """Step Functions takes a task's TimeoutSecondsPath and a map's MaxConcurrencyPath and
    ToleratedFailurePercentagePath from the input
    (https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html); MiniStack reads the
    numbers only. A timeout passes as fast as a wait does."""
    states = service("stepfunctions")
    names = ("TimeoutSeconds", "MaxConcurrency", "ToleratedFailurePercentage")

    def executed(original, state, raw, execution, ctx):
        given = {name: state[f"{name}Path"] for name in names if f"{name}Path" in state}
        effective = states._apply_input_path(state, raw, ctx) if given else None
        found = {name: states._resolve_path(path, effective) for name, path in given.items()}
        if "TimeoutSeconds" in found:
            found["TimeoutSeconds"] *= states._SFN_WAIT_SCALE
        return original(state | found, raw, execution, ctx)

    wrap(states, "_execute_task", executed)
    wrap(states, "_execute_map", executed)


def ministack_launch_template_versions():
    """DeleteLaunchTemplateVersions deletes versions that are not the default one
    (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteLaunchTemplateVersions.html); MiniStack
    does not have it."""
    ec2 = service("ec2")

    def delete(p):
        template = ec2._launch_templates.get(ec2._p(p, "LaunchTemplateId"))
        if not template:
            return ec2._error("InvalidLaunchTemplateId.NotFound", "There is no such launch template", 400)
        sets = {"successfully": "", "unsuccessfully": ""}
        for number in ec2._parse_member_list(p, "LaunchTemplateVersion"):
            found = [one for one in template["Versions"] if str(one["VersionNumber"]) == number]
            deleted = bool(found) and not found[0]["DefaultVersion"]
            if deleted:
                template["Versions"].remove(found[0])
            sets["successfully" if deleted else "unsuccessfully"] += (
                f"<item><launchTemplateId>{template['LaunchTemplateId']}</launchTemplateId>"
                f"<launchTemplateName>{template['LaunchTemplateName']}</launchTemplateName>"
                f"<versionNumber>{number}</versionNumber></item>"
            )
        template["LatestVersionNumber"] = max(one["VersionNumber"] for one in template["Versions"])
        answer = "".join(
            f"<{how}DeletedLaunchTemplateVersionSet>{items}</{how}DeletedLaunchTemplateVersionSet>"
            for how, items in sets.items()
        )
        return ec2._xml(200, "DeleteLaunchTemplateVersionsResponse", answer)

    ec2._ACTION_MAP["DeleteLaunchTemplateVersions"] = delete


def ministack_msk():
    """MSK has CreateClusterV2 and DescribeClusterV2, and UpdateConnectivity, UpdateMonitoring and
    UpdateSecurity change a cluster of the version that they name, which then has another
    (https://docs.aws.amazon.com/msk/1.0/apireference/resources.html); MiniStack has none of them."""
    import uuid
    from urllib.parse import unquote

    msk = service("msk")
    members = {"connectivity": "connectivityInfo", "monitoring": "enhancedMonitoring", "security": "clientAuthentication"}
    general = ("ClusterArn", "ClusterName", "CurrentVersion", "State")
    provisioned = ("BrokerNodeGroupInfo", "ClientAuthentication", "EnhancedMonitoring", "NumberOfBrokerNodes")

    def describe(arn):
        if missing := msk._validate_existing_cluster_arn(arn):
            return missing
        cluster = msk._clusters[arn]
        told = {name: cluster[name] for name in general} | {"ClusterType": "PROVISIONED"}
        return msk._json({"ClusterInfo": told | {"Provisioned": {name: cluster[name] for name in provisioned}}})

    def update(arn, what, asked):
        if missing := msk._validate_existing_cluster_arn(arn):
            return missing
        cluster = msk._clusters[arn]
        if asked["currentVersion"] != cluster["CurrentVersion"]:
            return msk._bad_request("This is not the current version of the cluster.")
        value = asked[members[what]]
        if what == "connectivity":
            cluster["BrokerNodeGroupInfo"] = cluster["BrokerNodeGroupInfo"] | {"connectivityInfo": value}
        else:
            cluster[members[what][0].upper() + members[what][1:]] = value
        cluster["CurrentVersion"] = "K" + uuid.uuid4().hex[:13].upper()
        return msk._json({"ClusterArn": arn, "ClusterOperationArn": arn.replace(":cluster/", ":cluster-operation/")})

    async def handle(original, method, path, headers, body, query):
        path = unquote(path)
        if path == "/api/v2/clusters" and method == "POST":
            asked = json.loads(body)
            flat = asked["provisioned"] | {"clusterName": asked["clusterName"], "tags": asked.get("tags", {})}
            return msk._create_cluster(json.dumps(flat).encode())
        if path.startswith("/api/v2/clusters/") and method == "GET":
            return describe(path.removeprefix("/api/v2/clusters/"))
        arn, _, what = path.removeprefix("/v1/clusters/").rpartition("/")
        if method in ("PUT", "PATCH") and what in members:
            return update(arn, what, json.loads(body))
        return await original(method, path, headers, body, query)

    wrap(msk, "handle_request", handle)
    wrap(msk, "_cluster_arn", lambda original, name, _: original(name, f"{uuid.uuid4()}-2"))


def ministack_patches():
    """Systems Manager keeps which patches an instance has (PutComplianceItems, ListComplianceItems), and
    AWS-RunPatchBaseline installs those that are missing
    (https://docs.aws.amazon.com/systems-manager/latest/userguide/patch-manager-aws-runpatchbaseline.html);
    MiniStack does neither."""
    from ministack.core.responses import AccountRegionScopedDict, json_response

    ssm = service("ssm")
    kept = AccountRegionScopedDict()

    def keep(asked):
        of = {name: asked[name] for name in ("ComplianceType", "ResourceId", "ResourceType", "ExecutionSummary")}
        kept[asked["ResourceId"]] = [of | item for item in asked["Items"]]
        return json_response({})

    def listed(asked):
        wanted = [one for one in asked.get("Filters", []) if one["Key"] == "ComplianceType"]
        items = [item for name in asked.get("ResourceIds", []) for item in kept.get(name, [])]
        fits = [item for item in items if all(item["ComplianceType"] in one["Values"] for one in wanted)]
        return json_response({"ComplianceItems": fits})

    async def handle(original, method, path, headers, body, query):
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        if action == "PutComplianceItems":
            return keep(json.loads(body))
        if action == "ListComplianceItems":
            return listed(json.loads(body))
        return await original(method, path, headers, body, query)

    def sent(original, asked):
        answer = original(asked)
        installs = asked.get("Parameters", {}).get("Operation") == ["Install"]
        if answer[0] == 200 and asked["DocumentName"] == "AWS-RunPatchBaseline" and installs:
            for name in asked["InstanceIds"]:
                kept[name] = [item | {"Status": "COMPLIANT"} for item in kept.get(name, [])]
        return answer

    wrap(ssm, "handle_request", handle)
    wrap(ssm, "_send_command", sent)


def moto_cluster_parameters():
    """ModifyClusterParameterGroup changes parameters of Redshift clusters, which RebootCluster brings into
    force (https://docs.aws.amazon.com/redshift/latest/mgmt/working-with-parameter-groups.html); moto has
    neither operation."""
    from moto.core.responses import ActionResult
    from moto.redshift.models import Cluster, RedshiftBackend
    from moto.redshift.responses import RedshiftResponse

    def changed(group):
        return vars(group).setdefault("changed", {})

    def listed(original, self, parameter_group_name):
        return [
            parameter | changed(self.parameter_groups[parameter_group_name]).get(parameter["ParameterName"], {})
            for parameter in original(self, parameter_group_name)
        ]

    def modify(self):
        name = self._get_param("ParameterGroupName")
        group = self.redshift_backend.describe_cluster_parameter_groups(name)[0]
        for parameter in self._get_param("Parameters"):
            value = {"ParameterValue": parameter["ParameterValue"], "Source": "user"}
            changed(group)[parameter["ParameterName"]] = value
        for cluster in self.redshift_backend.clusters.values():
            if name in cluster.cluster_parameter_group_name:
                cluster.waits_for_reboot = True
        return ActionResult({"ParameterGroupName": name, "ParameterGroupStatus": "updated"})

    def reboot(self):
        cluster = self.redshift_backend.describe_clusters(self._get_param("ClusterIdentifier"))[0]
        cluster.waits_for_reboot = False
        return ActionResult({"Cluster": cluster})

    def modified(original, self, **asked):
        cluster = original(self, **asked)
        if name := asked.get("cluster_parameter_group_name"):
            cluster.cluster_parameter_group_name = [name]
            cluster.waits_for_reboot = True
        return cluster

    def status(self):
        waits = getattr(self, "waits_for_reboot", False)
        return [
            {"ParameterGroupName": name, "ParameterApplyStatus": "pending-reboot" if waits else "in-sync"}
            for name in self.cluster_parameter_group_name
        ]

    wrap(RedshiftBackend, "describe_cluster_parameters", listed)
    wrap(RedshiftBackend, "modify_cluster", modified)
    RedshiftResponse.modify_cluster_parameter_group = modify
    RedshiftResponse.reboot_cluster = reboot
    Cluster.cluster_parameter_group_status_list = property(status)


def moto_public_snapshots():
    """DescribeSnapshots with RestorableByUserIds lists what these may restore
    (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html); moto ignores it."""
    from moto.ec2.responses.elastic_block_store import ElasticBlockStore

    def listed(original, self):
        answer = original(self)
        if wanted := set(self._get_param("RestorableByUserIds", [])):
            answer.result["Snapshots"] = [
                snapshot
                for snapshot in answer.result["Snapshots"]
                if wanted & (set(snapshot.create_volume_permission_groups) | set(snapshot.create_volume_permission_userids))
            ]
        return answer

    wrap(ElasticBlockStore, "describe_snapshots", listed)


def moto_linked_roles():
    """The roles of AWS Config, GuardDuty and Inspector are AWSServiceRoleForConfig,
    AWSServiceRoleForAmazonGuardDuty and AWSServiceRoleForAmazonInspector2
    (https://docs.aws.amazon.com/config/latest/developerguide/using-service-linked-roles.html); moto makes
    the names of the service's."""
    from moto.iam import models

    models.SERVICE_NAME_CONVERSION.update(
        {"config": "Config", "guardduty": "AmazonGuardDuty", "inspector2": "AmazonInspector2"}
    )


def moto_delete_on_termination():
    """DescribeVolumes tells whether an attached volume is deleted with its instance
    (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_VolumeAttachment.html); moto keeps it at the
    instance only."""
    from moto.ec2.models.elastic_block_store import VolumeAttachment

    def kept(self):
        device = self.instance.block_device_mapping.get(self.device)
        return bool(device and device.delete_on_termination)

    VolumeAttachment.delete_on_termination = property(kept)


def moto_stack_notifications():
    """UpdateStack changes NotificationARNs, with nothing else changed, too
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_UpdateStack.html); moto says that
    there is nothing to update."""
    from moto.cloudformation.responses import CloudFormationResponse
    from moto.core.responses import ActionResult

    def updated(original, self):
        topics = self._get_param("NotificationARNs")
        if topics is None or not self._get_bool_param("UsePreviousTemplate", False):
            return original(self)
        stack = self.cloudformation_backend.get_stack(self._get_param("StackName"))
        stack.notification_arns = [topic for topic in topics if topic]
        return ActionResult({"StackId": stack.stack_id})

    wrap(CloudFormationResponse, "update_stack", updated)


def moto_rotation():
    """Secrets Manager calls the rotation function; moto would start it in a container. Here the function
    is called and does nothing."""
    from moto.core.config import default_user_config

    default_user_config["lambda"]["use_docker"] = False


def moto_tags_of_nothing():
    """ListTags of a vault or plan that is not there is an error
    (https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListTags.html); moto answers that it has
    no tags."""
    from moto.backup.exceptions import ResourceNotFoundException
    from moto.backup.models import BackupBackend

    def listed(original, self, resource_arn):
        arns = [vault.backup_vault_arn for vault in self.vaults.values()]
        arns += [plan.backup_plan_arn for plan in self.plans.values()]
        if resource_arn not in arns:
            raise ResourceNotFoundException(msg="there is no such resource")
        return original(self, resource_arn)

    wrap(BackupBackend, "list_tags", listed)


def moto_default_versions():
    """SetDefaultPolicyVersion of the version that is the default leaves it so
    (https://docs.aws.amazon.com/IAM/latest/APIReference/API_SetDefaultPolicyVersion.html); in moto no
    version is the default then."""
    from moto.iam.models import ManagedPolicy

    def update(original, self, version):
        if version != self.default_version_id:
            original(self, version)

    wrap(ManagedPolicy, "update_default_version", update)


def moto_conditional_writes():
    """A write and its condition are one step
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithItems.html#WorkingWithItems.ConditionalUpdate);
    in moto another thread may come between them."""
    import threading

    from moto.dynamodb.models import DynamoDBBackend

    alone = threading.RLock()

    def one_by_one(original, *arguments, **named):
        with alone:
            return original(*arguments, **named)

    for name in ("put_item", "update_item", "delete_item", "transact_write_items"):
        wrap(DynamoDBBackend, name, one_by_one)
