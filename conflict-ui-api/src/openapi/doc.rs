//! What the document says of a route.

/// A parameter of the query.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its type, as `schemas` writes types.
    pub ty: &'static str,
    /// What it is.
    pub about: &'static str,
}

/// A body or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    Nothing,
    /// JSON of this type, as `schemas` writes types.
    Json(&'static str),
    /// A page of these: `{"data":[..],"hasMore":b,"nextCursor":".."}`.
    Page(&'static str),
    /// A page of these; or all of them as NDJSON where the client accepts it.
    PageOrLines(&'static str),
    /// JSON of this type; or, where the client accepts NDJSON, lines that say how far it is, of which the last one is of this type.
    Progress(&'static str),
    /// Server-sent events of this type.
    Events(&'static str),
    /// Text.
    Markdown,
    /// The path's record.
    Record,
    /// The records of the path's table, in the form of the system's lists.
    Records,
    /// What a new record is made of.
    NewRecord,
    /// What is changed of a record.
    RecordChange,
}

/// What the document says of a route.
#[derive(Debug, Clone, Copy)]
pub struct Doc {
    /// In a line.
    pub summary: &'static str,
    /// The query's parameters, in lists that routes share.
    pub parameters: &'static [&'static [Parameter]],
    /// The body.
    pub body: Shape,
    /// The status of a good end.
    pub status: u16,
    /// The answer of a good end.
    pub answer: Shape,
}

/// A route that takes nothing and answers 200 with nothing; the rest is said by the methods.
#[must_use]
pub const fn doc(summary: &'static str) -> Doc {
    Doc { summary, parameters: &[], body: Shape::Nothing, status: 200, answer: Shape::Nothing }
}

impl Doc {
    /// Parameters of the query.
    #[must_use]
    pub const fn asks(self, parameters: &'static [&'static [Parameter]]) -> Self {
        Self { parameters, ..self }
    }

    /// The body.
    #[must_use]
    pub const fn takes(self, body: Shape) -> Self {
        Self { body, ..self }
    }

    /// The answer.
    #[must_use]
    pub const fn gives(self, answer: Shape) -> Self {
        Self { answer, ..self }
    }

    /// The answer with a status of its own.
    #[must_use]
    pub const fn answers(self, status: u16, answer: Shape) -> Self {
        Self { status, answer, ..self }
    }
}

const fn parameter(name: &'static str, ty: &'static str, about: &'static str) -> Parameter {
    Parameter { name, ty, about }
}

/// The size and place of a page.
pub const PAGED: &[Parameter] =
    &[parameter("limit", "int", "how many"), parameter("cursor", "string", "the nextCursor of the answer before")];

/// The members of a filter of conflicts.
pub const FILTERED: &[Parameter] = &[
    parameter("resolution", "Resolution", "of this resolution"),
    parameter("table", "string", "of this table: path or name"),
    parameter("kind", "ConflictKind", "of this kind"),
    parameter("site", "string", "of this site"),
    parameter("group", "uuid", "of this group"),
    parameter("push", "int", "of the site's push of this number"),
    parameter("column", "string", "in which this column clashed"),
    parameter("since", "string", "parked at or after: a time, or how long ago, as 24h or 30d"),
    parameter("until", "string", "parked before: a time, or how long ago"),
    parameter("record", "string", "of this record, with table"),
    parameter("byPolicy", "bool", "decided by a policy, or not"),
    parameter("root", "uuid", "hanging from this conflict"),
];

/// The order of a list of conflicts.
pub const SORTED: &[Parameter] = &[parameter("sort", "newest|oldest|record|site", "in which order")];

/// Which local edits.
pub const EDITS: &[Parameter] = &[
    parameter("state", "EditState", "standing here"),
    parameter("table", "string", "of this table: path or name"),
    parameter("record", "string", "of this record, with table"),
    parameter("by", "string", "by this user"),
    parameter("format", "json|ndjson", "ndjson: all of them, a line each"),
];

/// Of which site a digest is.
pub const OF_SITE: &[Parameter] = &[parameter("site", "string", "only what this site should hold; without it, everything")];

/// Which runs.
pub const RUNS: &[Parameter] = &[parameter("server", "string", "of this server")];

/// The order and place of a list of records. A filter goes by the column's name: `?type=CAMERA`, `?h_res[gte]=1920`.
pub const LISTED: &[Parameter] = &[
    parameter("sort", "string", "columns in order, with - from the greatest: -updatedAt,name"),
    parameter("limit", "int", "how many"),
    parameter("cursor", "string", "where the answer before ended"),
    parameter("deleted", "bool", "soft-deleted ones too"),
    parameter("place", "bool", "say where each record is"),
    parameter("include", "string", "what stands beside each record, as rack,comments.author: what it refers to, what refers to it"),
    parameter("fields", "string", "what is shown of each record: id,name"),
    parameter("total", "bool", "count all of them"),
    parameter("group", "string", "figures over groups of the records instead of them: by which columns, status,siteId"),
    parameter("show", "string", "which figures: count,sum(value),avg(value),min(value),max(value)"),
    parameter("every", "string", "how long the buckets of the one time column of group are: 15min, 1h, 1d, 1w, 1mon, 1y"),
];

/// Of one record.
pub const SHOWN: &[Parameter] = &[
    parameter("deleted", "bool", "a soft-deleted one too"),
    parameter("place", "bool", "say where it is"),
    parameter("include", "string", "what stands beside it, as rack,comments.author: what it refers to, what refers to it"),
    parameter("fields", "string", "what is shown of it: id,name"),
];

/// Which reference the children go by.
pub const VIA: &[Parameter] = &[parameter("via", "string", "the column by which the children refer, where there are several")];
