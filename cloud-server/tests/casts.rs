//! What a site makes of values where a column's type changes is what PostgreSQL makes of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cloud_server::settings::Settings;
use cloud_server::store::pool::Database;
use cloud_server::store::prepare;
use cloud_server::test_support;
use sync_core::catalog::Column;
use sync_core::value::{Cast, ColumnType};
use tokio_postgres::{Client, NoTls};

/// Every type that is tried, by the name that PostgreSQL gives it.
const TYPES: &str = "
    boolean; smallint; integer; bigint; real; double precision; money; uuid; date; bytea; jsonb; json; inet; cidr; macaddr; macaddr8; mood; point;
    numeric; numeric(10,2); numeric(10,1); numeric(10,0); numeric(4,1); numeric(3,0); numeric(3,-1); numeric(2,3);
    text; name; character(5); character(10); character varying(10); character varying(12); character varying(20); character varying(40);
    bit(3); bit(4); bit varying(2); bit varying(5);
    timestamp with time zone; timestamp(0) with time zone; timestamp(1) with time zone; timestamp(3) with time zone;
    timestamp(4) with time zone; timestamp without time zone; timestamp(0) without time zone; timestamp(1) without time zone;
    timestamp(3) without time zone; time with time zone; time(0) with time zone; time(1) with time zone; time(3) with time zone;
    time without time zone; time(0) without time zone; time(1) without time zone; time(3) without time zone;
    interval; interval(0); interval(1); interval(3);
    int4range; int8range; daterange; numrange; tsrange; tstzrange;
    integer[]; bigint[]; text[]; boolean[]; double precision[]; real[]; numeric(10,2)[]; numeric(10,1)[]; timestamp with time zone[]; date[];
    time without time zone[]; jsonb[]; bytea[]; inet[]; character(5)[]; mood[]; uuid[]; money[]; int4range[]; interval[]";

/// A database with a column of each type, as the catalog says that they are.
struct Types {
    client: Client,
    columns: BTreeMap<String, Column>,
    _database: test_support::Database,
}

impl Types {
    async fn prepared() -> Self {
        let database = test_support::database().await;
        let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let plain = "SET TIME ZONE 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = postgres; SET extra_float_digits = 1;
                     SET bytea_output = hex; SET lc_monetary = 'C'; CREATE TYPE mood AS ENUM ('good', 'so so')";
        let columns: String = TYPES.split(';').enumerate().map(|(at, ty)| format!(", v{at} {ty}")).collect();
        client.batch_execute(&format!("{plain}; CREATE TABLE shapes (id integer PRIMARY KEY{columns})")).await.unwrap();
        let db = Database::open(database.url(), 4).unwrap();
        let catalog = prepare(&db, &Settings::parse("root = 'shapes'").unwrap(), None).await.unwrap();
        db.close();
        let shapes = catalog.tables.iter().find(|table| table.name == "shapes").unwrap();
        let named = |name: &str| shapes.columns.iter().find(|column| column.name == name).cloned();
        let columns = TYPES.split(';').enumerate().filter_map(|(at, ty)| Some((ty.trim().to_owned(), named(&format!("v{at}"))?))).collect();
        Self { client, columns, _database: database }
    }

    fn column(&self, sql_type: &str) -> &Column {
        self.columns.get(sql_type).unwrap_or_else(|| panic!("no {sql_type} among the types that are tried"))
    }

    /// What PostgreSQL makes of a value, and what a site does, each as text: what differs, in words.
    async fn differing(&self, from: &str, to: &str, literals: &[&str]) -> String {
        let (client, was, now) = (&self.client, self.column(from), self.column(to));
        let cast = Cast::between(was, now);
        let mut found = String::new();
        for literal in literals {
            let sql = format!("DROP TABLE IF EXISTS t; CREATE TEMP TABLE t (v {from}); INSERT INTO t VALUES ($v${literal}$v$)");
            client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{from} {literal}: {error:?}"));
            let text = async || client.query_one("SELECT v::text FROM t", &[]).await.unwrap().get::<_, String>(0);
            // A site knows the site's own spelling of a range, and PostgreSQL's of everything else.
            let before = if was.ty == ColumnType::Other { (*literal).to_owned() } else { text().await };
            let value = was.ty.parse_postgres(&before).unwrap();
            let here = cast.apply(&value);
            // Where it has no cast, a migration says USING.
            let mut alter = client.batch_execute(&format!("ALTER TABLE t ALTER v TYPE {to}")).await;
            if alter.as_ref().is_err_and(|error| error.code().is_some_and(|code| code.code() == "42804")) {
                alter = client.batch_execute(&format!("ALTER TABLE t ALTER v TYPE {to} USING v::{to}")).await;
            }
            let there = match alter {
                Ok(()) => Some(now.ty.parse_postgres(&text().await).unwrap()),
                Err(_) => None,
            };
            if here != there {
                let _ = writeln!(found, "{from} {before} to {to}: a site makes {here:?}, PostgreSQL {there:?}");
            }
        }
        found
    }
}

const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1.5",
    "0.5",
    "1.5",
    "2.5",
    "-2.5",
    "0.1",
    "100000",
    "999999",
    "1e6",
    "1234567",
    "0.0001",
    "0.00001",
    "1e14",
    "1e15",
    "123456789012345680",
    "1e30",
    "NaN",
    "Infinity",
    "-Infinity",
    "0.30000000000000004",
    "2147483647.5",
    "3.4e38",
    "32767.5",
    "1e-30",
];
const NUMERICS: &[&str] = &[
    "0",
    "1.5",
    "2.5",
    "-2.5",
    "0.05",
    "0.04",
    "-0.05",
    "99999999.99",
    "12.35",
    "12.34",
    "0.5",
    "0.45",
    "9.95",
    "9.99",
    "123456.78",
    "-9.95",
    "32767.49",
    "32767.5",
    "55",
    "45",
    "-0.01",
    "NaN",
];
const MOMENTS: &[&str] = &[
    "2026-01-31 12:00:00.5",
    "2026-01-31 12:00:00.499999",
    "2026-12-31 23:59:59.95",
    "1999-12-31 23:59:58.5",
    "1999-12-31 23:59:58.4999",
    "0044-03-15 12:00:00.25 BC",
    "infinity",
    "-infinity",
    "12026-01-31 00:00:00",
    "1969-12-31 23:59:59.5",
    "2000-01-01 00:00:00.05",
];
const TIMES: &[&str] = &["00:00:00", "12:00:00.5", "12:34:56.123456", "23:59:59.95", "24:00:00"];
const INTERVALS: &[&str] =
    &["1 mon -2 days +03:00:00", "00:00:00", "1 year 2 mons 3 days 04:05:06.789", "-00:00:00.5", "30:00:00.25", "-1 days -02:00:00.05"];
const INTEGERS: &[&str] = &["0", "1", "-1", "16777217", "2147483647", "-32768", "32768", "9"];
const BIG: &[&str] = &["9223372036854775807", "9007199254740993", "-5", "16777217", "32768", "123456789012345678"];
const DOCUMENTS: &[&str] = &[
    r#"{"bb": 1, "a": [1, 2.5, {"x": null}], "c": "q\"\\\n\u00e9\u001f"}"#,
    "[]",
    "{}",
    "\"x\"",
    "1e3",
    "true",
    "null",
    r#"{"é": 1, "zz": 2, "b": 3}"#,
];
const WORDS: &[&str] = &["", "a", "two words", "trailing  ", "éàü", "0123456789", "0123456789    ", "null"];

/// What a value of each type becomes as a text.
#[tokio::test]
async fn a_column_that_becomes_text_holds_what_postgresql_writes() {
    let types = Types::prepared().await;
    let mut found = String::new();
    for (from, literals) in [
        ("boolean", &["true", "false"][..]),
        ("smallint", &["-5", "32767"]),
        ("integer", INTEGERS),
        ("bigint", BIG),
        (
            "real",
            &[
                "0",
                "-1.5",
                "0.1",
                "100000",
                "999999",
                "1e6",
                "1234567",
                "0.0001",
                "0.00001",
                "16777217",
                "3.4e38",
                "NaN",
                "-Infinity",
                "1e-30",
            ],
        ),
        ("double precision", FLOATS),
        ("numeric", &["0", "1.5", "-12.34", "NaN", "Infinity", "123456789012345678901234567890.5"]),
        ("numeric(10,2)", NUMERICS),
        ("numeric(10,0)", &["5", "-3"]),
        ("money", &["0", "-1234.5", "1234567.89", "0.05", "-0.05", "999"]),
        ("uuid", &["0198C0DE-0000-7000-8000-000000000001"]),
        ("timestamp with time zone", MOMENTS),
        ("timestamp without time zone", MOMENTS),
        ("timestamp(0) with time zone", &["2026-01-31 12:00:00+05:30"]),
        ("date", &["2026-01-31", "0044-03-15 BC", "infinity", "12026-01-31"]),
        ("time without time zone", TIMES),
        ("time with time zone", &["12:00:00.5+02", "12:00:00-05:30", "00:00:00+00"]),
        ("interval", INTERVALS),
        ("bytea", &["", "\\x00ff10"]),
        ("jsonb", DOCUMENTS),
        ("json", &[r#"{"b" : 1,  "a":1, "a":2}"#]),
        ("inet", &["10.0.0.1", "10.0.0.1/8", "2001:db8::1", "::/0"]),
        ("cidr", &["10.0.0.0/8", "2001:db8::/32"]),
        ("macaddr", &["08:00:2b:01:02:03"]),
        ("macaddr8", &["08:00:2b:ff:fe:01:02:03"]),
        ("bit(3)", &["101"]),
        ("bit varying(5)", &["10110", ""]),
        ("mood", &["good", "so so"]),
        ("character(5)", &["ab", "abcde"]),
        ("name", WORDS),
        ("character varying(20)", WORDS),
        ("int4range", &["[1,5)", "[1,4]", "(1,4)", "empty", "[,3]", "(,)", "[1,1)", "[3,3]", " [ 1 , 4 ] "]),
        ("int8range", &["(9223372036854775800,)", "[1,4]"]),
        ("daterange", &["[2026-01-31,2026-02-01]", "(2025-12-31,infinity]", "[,2026-01-01)"]),
        ("numrange", &["[1.50,2)", "(0,0]", "[0,0]", "[1.5,]"]),
        ("tsrange", &["[2026-01-31,2026-02-01 12:00:00.50]", "(,2026-01-01)"]),
        ("tstzrange", &["[2026-01-31T12:00:00Z,2026-02-01 12:00:00+02)", "[\"2026-01-31 12:00:00+00\",]"]),
        ("point", &["(1,2.5)"]),
        ("integer[]", &["{1,NULL,3}", "{}", "{{1,2},{3,4}}", "[0:1]={7,8}"]),
        ("text[]", &[r#"{a,"b c",NULL,"NULL","","q\"u\\o","{x}","a,b",é}"#]),
        ("boolean[]", &["{t,f,NULL}"]),
        ("double precision[]", &["{0.1,1e300,NaN,1e15}"]),
        ("real[]", &["{0.1,1e6,16777217}"]),
        ("numeric(10,2)[]", &["{1.5,2}"]),
        ("timestamp with time zone[]", &["{2026-01-31 12:00:00+00,infinity}"]),
        ("date[]", &["{2026-01-31}"]),
        ("time without time zone[]", &["{12:00:00}"]),
        ("jsonb[]", &[r#"{"{\"bb\": 1, \"a\": [1, 2]}","1"}"#]),
        ("bytea[]", &[r#"{"\\x00ff"}"#]),
        ("inet[]", &["{10.0.0.1,10.0.0.1/8}"]),
        ("character(5)[]", &["{ab}"]),
        ("mood[]", &["{good,\"so so\"}"]),
        ("uuid[]", &["{0198c0de-0000-7000-8000-000000000001}"]),
        ("money[]", &["{1234.5}"]),
        ("int4range[]", &["{\"[1,4)\"}"]),
        ("interval[]", &["{1 day,02:00:00}"]),
    ] {
        for to in ["text", "character varying(12)"] {
            found += &types.differing(from, to, literals).await;
        }
    }
    assert_eq!(found, "");
}

/// Numbers, times and texts as others of their kind: rounded as PostgreSQL rounds, refused where it refuses.
#[tokio::test]
async fn a_column_of_another_type_holds_what_postgresqls_assignment_makes_of_its_values() {
    let types = Types::prepared().await;
    let mut found = String::new();
    let whole = ["smallint", "integer", "bigint"];
    let real = ["real", "double precision"];
    let exact = ["numeric", "numeric(10,2)", "numeric(10,1)", "numeric(4,1)", "numeric(3,0)", "numeric(3,-1)", "numeric(2,3)"];
    for to in whole.iter().chain(&real).chain(&exact).chain(&["money"]) {
        found += &types.differing("integer", to, INTEGERS).await;
        found += &types.differing("bigint", to, BIG).await;
        found += &types.differing("numeric(10,2)", to, NUMERICS).await;
        found += &types
            .differing("numeric", to, &["1e39", "1e-60", "1e400", "Infinity", "0.0049", "0.0095", "9223372036854775807.5", "0.005", "0.5"])
            .await;
        if *to != "money" {
            found += &types.differing("double precision", to, FLOATS).await;
            found +=
                &types.differing("double precision", to, &["1e39", "1e-60", "9223372036854775807", "-9223372036854775808", "0.0005"]).await;
            found +=
                &types.differing("real", to, &["0.1", "16777217", "12345678900", "2.5", "NaN", "3.4e38", "9.2233720e18", "1.15"]).await;
        }
        found += &types.differing("text", to, &["7", " 7 ", "seven", "7.25"]).await;
    }
    found += &types.differing("money", "numeric(10,1)", &["1234.55", "-0.05"]).await;
    for precision in ["(0) ", "(1) ", "(3) ", " "] {
        for zone in ["with", "without"] {
            let (stamp, time) = (format!("timestamp{precision}{zone} time zone"), format!("time{precision}{zone} time zone"));
            for from in ["timestamp with time zone", "timestamp without time zone", "timestamp(4) with time zone", "text"] {
                found += &types.differing(from, &stamp, MOMENTS).await;
            }
            found += &types.differing("date", &stamp, &["2026-01-31", "infinity", "0044-03-15 BC", "300000-01-01"]).await;
            found += &types.differing("time without time zone", &time, TIMES).await;
        }
        let (time, span) = (format!("time{precision}without time zone"), format!("interval{}", precision.trim()));
        found += &types.differing("time with time zone", &time, &["12:00:00.55+02"]).await;
        found += &types.differing("timestamp with time zone", &time, &["2026-01-31 12:00:00.55+02"]).await;
        found += &types.differing("interval", &time, INTERVALS).await;
        found += &types.differing("interval", &span, INTERVALS).await;
        found += &types.differing("time without time zone", &span, TIMES).await;
    }
    for from in ["timestamp with time zone", "timestamp without time zone"] {
        found += &types.differing(from, "date", MOMENTS).await;
    }
    for to in ["character varying(10)", "character(10)", "name", "text", "boolean", "uuid", "bytea"] {
        found += &types.differing("character varying(40)", to, WORDS).await;
        found += &types.differing("text", to, &["yes", "OFF", " t ", "o", "good", "x", "\\x00ff"]).await;
    }
    // Of a label that no enum has, the cloud says so.
    found += &types.differing("text", "mood", &["good"]).await;
    found += &types.differing("text", "jsonb", &["null", "{\"b\":1}", "{"]).await;
    for to in ["bit(3)", "bit(4)", "bit varying(2)", "bit varying(5)"] {
        found += &types.differing("bit(3)", to, &["101"]).await;
        found += &types.differing("bit varying(5)", to, &["101", "11111"]).await;
    }
    found += &types.differing("inet", "cidr", &["10.0.0.1", "10.0.0.1/8", "2001:db8::1/32"]).await;
    found += &types.differing("cidr", "inet", &["10.0.0.0/8", "10.0.0.1/32"]).await;
    found += &types.differing("macaddr", "macaddr8", &["08:00:2b:01:02:03"]).await;
    found += &types.differing("macaddr8", "macaddr", &["08:00:2b:ff:fe:01:02:03", "08:00:2b:00:00:01:02:03"]).await;
    found += &types.differing("json", "jsonb", &[r#"{"b" : 1.50,  "a":1, "a":2}"#]).await;
    found += &types.differing("jsonb", "json", DOCUMENTS).await;
    found += &types.differing("integer[]", "bigint[]", &["{1,NULL}"]).await;
    found += &types.differing("numeric(10,2)[]", "numeric(10,1)[]", &["{1.25,2}", "[0:0]={9.99}"]).await;
    found += &types.differing("double precision[]", "integer[]", &["{1.5,2.5}", "{1e300}"]).await;
    found += &types.differing("integer[]", "text[]", &["{1,NULL}"]).await;
    assert_eq!(found, "");
}
