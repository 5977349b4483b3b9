//! The shapes of the engine's own bodies and answers, in a short form: `name:type` by commas. A type is `string`, `int`, `number`, `bool`,
//! `uuid`, `time`, `any`, `object`, another shape's name, `[type]`, `{type}` (an object with members of this type) or `a|b|c` (these words);
//! `?` behind it: or null. A name with `?`: may be left out.
//!
//! `tests/http/openapi.rs` holds them against what the handlers answer.

use serde_json::{Map, Value as Json, json};

/// Name, words, members.
type Shape = (&'static str, &'static str, &'static str);

/// Enumerations.
const WORDS: &[(&str, &str)] = &[
    ("Resolution", "PENDING|CLOUD_WINS|LOCAL_WINS|MANUAL"),
    ("ConflictKind", "update_update|update_delete|delete_update|insert_insert|unique|foreign_key|check|schema|rejected"),
    ("Way", "plain|same_row|undo"),
    ("Policy", "manual|cloud_wins|local_wins|newest|add|union|max|min|text|json"),
    ("Verdict", "same|cloud_only|local_only|both_same|clash"),
    ("EditState", "waiting|sent|held|parked|cloud"),
    ("DecisionState", "waiting|sent|done|refused"),
    ("Role", "viewer|editor|admin"),
    ("Direction", "UPLOAD|DOWNLOAD|BIDIRECTIONAL"),
    ("RunStatus", "STARTED|COMPLETED|FAILED|PARTIAL"),
];

const CONFLICT: &str = "id:uuid, tableName:string, recordId:string, kind:ConflictKind, reason:string, columns:[string], cloudVersion:int?, \
    localVersion:int?, baseData:object?, cloudData:object?, localData:object?, cloudUpdatedAt:time?, localUpdatedAt:time?, cloudEtag:string?, \
    revision:int, held:bool, site:string, push:int, resolution:Resolution, resolvedAt:time?, resolvedBy:string?, createdAt:time, \
    decidedNotSent:bool, decision:SiteDecision?, group:uuid?, root:uuid?, dependents:int, policy:Policy?, cloudModifiedBy:string?, \
    localModifiedBy:string?";

const SHAPES: &[Shape] = &[
    ("Health", "The process answers.", "status:string, timestamp:time"),
    ("Ready", "The server can serve.", "status:string"),
    ("Conflict", "A parked conflict, or a loss by policy.", CONFLICT),
    (
        "SiteDecision",
        "A decision made at a site, as far as it came.",
        "resolution:Resolution, way:Way, by:string, at:time, state:DecisionState, refused:string?",
    ),
    ("ConflictDetail", "A conflict with all that is needed to decide it.", ""),
    (
        "Field",
        "One column of a conflict's row.",
        "name:string, field:string, type:string?, options?:[string], notNull:bool, maxLength?:int, base?:any, \
        cloud?:any, local?:any, verdict:Verdict, policy:Policy, group:[string], editable:bool, diff?:[Segment], cloudSince?:time, cloudBy?:string",
    ),
    ("Segment", "A part of a text, and who has it.", "op:same|cloud|local, text:string"),
    ("Missing", "A row that is referred to and not there.", "columns:[string], tableName:string, recordId:string, held:bool"),
    (
        "Dependent",
        "A conflict that hangs from another one.",
        "id:uuid, parent:uuid, depth:int, tableName:string, recordId:string, kind:ConflictKind, reason:string",
    ),
    ("Besides", "A row that a decision would change besides.", "tableName:string, recordId:string, effect:string"),
    (
        "HistoryEntry",
        "What happened to a row once; changes: [old, new] by column.",
        "id:int, op:insert|update|delete, version:int, at:time, author:string, site:string?, changes:object",
    ),
    (
        "ConflictGroup",
        "The conflicts of one cause.",
        "id:uuid, tableName:string, kind:ConflictKind, site:string, conflicts:int, dependents:int, columns:[string], \
        firstAt:time, lastAt:time, example:Conflict",
    ),
    ("ConflictCounts", "How many conflicts there are.", "total:int, byKind:{int}, byTable:{int}, bySite:{int}, byResolution:{int}"),
    (
        "Decision",
        "A decision on what was seen; values go with MANUAL.",
        "resolution:Resolution, revision:int, cloudEtag?:string?, values?:object?, way?:Way, besides?:string?",
    ),
    ("Undo", "Takes back the decision that was seen.", "revision:int"),
    (
        "ConflictFilter",
        "Every member that is given must hold.",
        "resolution?:Resolution?, table?:string?, kind?:ConflictKind?, site?:string?, group?:uuid?, push?:int?, \
        column?:string?, since?:time?, until?:time?, record?:string?, byPolicy?:bool?, root?:uuid?",
    ),
    (
        "BulkDecision",
        "A decision on all open conflicts of a filter.",
        "filter:ConflictFilter, resolution:CLOUD_WINS|LOCAL_WINS, dryRun?:bool, allOrNothing?:bool, expected?:int?",
    ),
    ("BulkOutcome", "What became of it.", "matched:int, resolved:int, refused:int, reasons:[BulkReason], dryRun:bool"),
    ("BulkReason", "Why conflicts were not decided.", "reason:string, conflicts:int, example:uuid"),
    ("Progress", "How far a decision on many is.", "done:int, of:int"),
    (
        "Event",
        "What happened: conflicts, run, schema or lagged (look at everything again).",
        "event:conflicts|run|schema|lagged, tableName?:string?, site?:string?, conflict?:uuid?, \
        what?:string, status?:string, error?:string?",
    ),
    (
        "LocalEdit",
        "An edit that is not in the cloud as it is here; changes: [base, local] by field.",
        "tableName:string, recordId:string, place:string, state:EditState, op:insert|update|delete, \
        changes:object, editedAt:time?, editedBy:string?, conflict:uuid?",
    ),
    ("EditCounts", "How many edits stand where.", "waiting:int, sent:int, held:int, parked:int"),
    ("Trial", "Policies to try: TABLE.COLUMN to the policy's name.", "since:string, policies:{Policy}"),
    (
        "PolicyTrial",
        "What conflicts and losses would have become.",
        "lookedAt:int, merged:int, cloudWins:int, localWins:int, parked:int, unknown:int, bySite:{int}, examples:[PolicyExample]",
    ),
    ("PolicyExample", "One of them.", "conflict:uuid, column:string, outcome:string, value:any"),
    (
        "SyncStatus",
        "How a server's sync stands.",
        "server:string, online:bool, paused:bool, running:bool, pending:int, oldestPendingAt:time?, held:int, conflicts:int, \
        lastCheckedAt:time?, lastRun:RunSummary?, nextAttemptAt:time?, lastError:string?, \
        numbers:[NumbersLeft], oneWay:[OneWay], lostPrograms:[LostProgram]",
    ),
    (
        "LostProgram",
        "A view, trigger or index of another program that says what the catalog no longer has, and is gone from the site's file; or a foreign key of a table of one, whose table is gone.",
        "name:string, kind:view|trigger|index|foreign_key, sql:string, why:string, at:time?",
    ),
    (
        "OneWay",
        "A table that travels one way only, or is kept at sites for a time only.",
        "table:string, travel:both|up|down, keepHours:int?",
    ),
    ("NumbersLeft", "Numbers that a site has left for the key of a table's new rows.", "table:string, column:string, left:int, of:int"),
    ("RunSummary", "The end of a run.", "id:uuid, status:RunStatus, completedAt:time?"),
    (
        "Run",
        "A row of sync_log.",
        "id:uuid, syncDirection:Direction, startedAt:time, completedAt:time?, status:RunStatus, recordsSynced:int, conflictsDetected:int, errors:any, \
        serverId:string, bytesUp:int, bytesDown:int, cursorsBefore:any, cursorsAfter:any",
    ),
    ("RunOrder", "What to run.", "direction?:Direction?"),
    (
        "SignIn",
        "Name and password; or name, one-time secret and the password to set.",
        "name:string, password?:string?, oneTimeSecret?:string?, newPassword?:string?",
    ),
    ("Session", "A session's token, shown once.", "token:string, expiresAt:time, user:Principal"),
    ("Principal", "Somebody who passed the door.", "name:string, role:Role"),
    ("PasswordChange", "The password as it is and as it shall be.", "oldPassword:string, newPassword:string"),
    ("User", "A user.", "name:string, role:Role, disabled:bool"),
    ("NewUser", "A new user.", "name:string, role:Role"),
    ("UserChange", "What changes of a user.", "role?:Role?, disabled?:bool?"),
    ("UserSecret", "A user with a secret to sign in with once.", "name:string, role:Role, disabled:bool, oneTimeSecret:string"),
    ("Token", "An API token.", "id:string, user:string, label:string?, createdAt:time, expiresAt:time?"),
    ("NewToken", "A new API token.", "label:string, user?:string?, expiresAt?:time?"),
    (
        "TokenSecret",
        "An API token with its secret, shown once.",
        "id:string, user:string, label:string?, createdAt:time, expiresAt:time?, secret:string",
    ),
    ("Digests", "What a server holds, in a form that can be compared.", "digest:string, rows:int, held:int, tables:[TableDigest]"),
    ("TableDigest", "The digest of one table.", "table:string, digest:string, rows:int, held:[string]"),
    ("Import", "The rows of a data set, parents first.", "rows:[ImportRow]"),
    ("ImportRow", "One of them.", "table:string, values:object"),
    ("Imported", "What an import did.", "created:int, updated:int, unchanged:int"),
    (
        "Site",
        "A site of the cloud.",
        "id:uuid, name:string, scopes:[string], dropping:[string], enrolled:bool, tokenExpiresAt:time?, createdAt:time, revokedAt:time?, \
        lastSeenAt:time?, conflicts:int, replicas:[Replica], lastRun:RunSummary?",
    ),
    ("Replica", "A copy of a site's database.", "id:uuid, lastPush:int, catalog:int, createdAt:time"),
    ("NewSite", "A site to add.", "name:string, scopes:[string], expiresIn?:int?"),
    ("TokenOrder", "How many seconds a further token counts.", "expiresIn?:int?"),
    ("Invited", "A site with a single-use token, shown once.", "id:uuid, name:string, token:string, expiresAt:time"),
    ("NewScope", "A scope to give.", "scope:string"),
    (
        "Notice",
        "A notice of the webhook, and what became of it.",
        "id:uuid, kind:conflicts|silence|back|failure, state:waiting|delivered|givenUp, message:any?, createdAt:time, attempts:int, \
        nextAt:time?, deliveredAt:time?, givenUpAt:time?, acceptedBy:[string], refusedBy:[string], lastError:string?",
    ),
    ("CatalogState", "The catalog in force.", "version:int, tables:int"),
    ("Fault", "One thing wrong with a part of a request.", "pointer?:string, parameter?:string, code:string, detail:string"),
];

/// Every shape under its name.
pub(super) fn all() -> Map<String, Json> {
    let mut schemas = Map::new();
    for (name, words) in WORDS {
        schemas.insert((*name).to_owned(), of_type(words));
    }
    for (name, about, members) in SHAPES {
        let mut schema = object(members);
        schema["description"] = (*about).into();
        schemas.insert((*name).to_owned(), schema);
    }
    let more = "current:object?, against:string?, dependentsTree:[Dependent], besides:[Besides], besidesTotal:int, besidesDigest:string?, history:[HistoryEntry], \
        undoable:bool?, fields:[Field], missing:[Missing]";
    let about = "A conflict with all that is needed to decide it.";
    schemas.insert("ConflictDetail".to_owned(), json!({ "description": about, "allOf": [of_type("Conflict"), object(more)] }));
    schemas
}

/// An object of these members.
pub(super) fn object(members: &str) -> Json {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, ty) in members.split(',').filter_map(|member| member.trim().split_once(':')) {
        match name.strip_suffix('?') {
            Some(name) => drop(properties.insert(name.to_owned(), of_type(ty))),
            None => {
                properties.insert(name.to_owned(), of_type(ty));
                required.push(name);
            }
        }
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

/// A type in the short form as a schema.
pub(super) fn of_type(ty: &str) -> Json {
    if let Some(ty) = ty.strip_suffix('?') {
        let mut schema = of_type(ty);
        return match schema.get_mut("type") {
            Some(name) => {
                *name = json!([name, "null"]);
                schema
            }
            None => json!({ "anyOf": [schema, { "type": "null" }] }),
        };
    }
    let inside = |open, close| ty.strip_prefix(open).and_then(|ty: &str| ty.strip_suffix(close));
    if let Some(item) = inside('[', ']') {
        return json!({ "type": "array", "items": of_type(item) });
    }
    if let Some(member) = inside('{', '}') {
        return json!({ "type": "object", "additionalProperties": of_type(member) });
    }
    match ty {
        "string" | "object" => json!({ "type": ty }),
        "bool" => json!({ "type": "boolean" }),
        "int" => json!({ "type": "integer", "format": "int64" }),
        "number" => json!({ "type": "number" }),
        "uuid" => json!({ "type": "string", "format": "uuid" }),
        "time" => json!({ "type": "string", "format": "date-time" }),
        "any" => json!({}),
        words if words.contains('|') => json!({ "type": "string", "enum": words.split('|').collect::<Vec<_>>() }),
        name => json!({ "$ref": format!("#/components/schemas/{name}") }),
    }
}
