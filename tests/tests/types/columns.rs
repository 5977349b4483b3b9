//! One table for each family of types: its columns, and what is put into them.

use proptest::prelude::*;
use proptest::sample::select;

use crate::values::{
    Texts, array, bytes, cidr, date, float, inet, interval, json, like, multirange, numeric, point, points, range, shown, single, text,
    time, timestamp, timestamptz, zone,
};

/// A column.
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) sql_type: &'static str,
    /// What must be among the values.
    pub(crate) edges: Vec<String>,
    pub(crate) values: Texts,
}

/// A table.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) columns: Vec<Column>,
}

/// What the columns' types need.
pub(crate) const TYPES: &str = r#"
    CREATE TYPE mood AS ENUM ('calm', 'it''s', 'a,b', '"q"', '{x}', 'NULL', ' ü ', '\');
    CREATE TYPE pair AS (number integer, label text);
    CREATE DOMAIN positive AS integer CHECK (value > 0);
    CREATE DOMAIN short AS varchar(8);
    CREATE DOMAIN price AS numeric(6, 2);
    CREATE DOMAIN moment AS timestamptz;
    CREATE DOMAIN words AS text[];
    CREATE EXTENSION IF NOT EXISTS citext;
    CREATE EXTENSION IF NOT EXISTS hstore;
    CREATE EXTENSION IF NOT EXISTS ltree;
"#;

fn column(sql_type: &'static str, edges: &[&str], values: Texts) -> Column {
    Column { name: String::new(), sql_type, edges: edges.iter().map(|edge| (*edge).to_owned()).collect(), values }
}

fn family(name: &'static str, columns: Vec<Column>) -> Family {
    let named = |(no, column): (usize, Column)| Column { name: format!("c{no}"), ..column };
    Family { name, columns: columns.into_iter().enumerate().map(named).collect() }
}

pub(crate) fn families() -> Vec<Family> {
    vec![numbers(), texts(), times(), addresses(), documents(), arrays(), named(), ranges(), others()]
}

fn numbers() -> Family {
    family(
        "numbers",
        vec![
            column("boolean", &["true", "false"], shown::<bool>()),
            column("smallint", &["-32768", "32767"], shown::<i16>()),
            column("integer", &["-2147483648", "2147483647"], shown::<i32>()),
            column("bigint", &["-9223372036854775808", "9223372036854775807", "9007199254740993"], shown::<i64>()),
            column("real", &["NaN", "Infinity", "-Infinity", "-0", "0.1", "3.4028235e38", "1e-45"], single()),
            column("double precision", &["NaN", "Infinity", "-Infinity", "-0", "0.1", "1.7976931348623157e308", "5e-324"], float()),
            column("numeric", &["NaN", "Infinity", "-Infinity", "1.50", "-0.00", "1e131071", "1e-16383", "1e20000"], numeric()),
            column("numeric(10,2)", &["1.50", "-0.01", "99999999.99"], like("-?[0-9]{1,8}(\\.[0-9]{1,2})?")),
            column("money", &["92233720368547758.07", "-92233720368547758.08", "-0.05"], like("-?[0-9]{1,15}\\.[0-9]{2}")),
            column("oid", &["4294967295"], shown::<u32>()),
            column("bit(5)", &["00000"], like("[01]{5}")),
            column("bit varying(12)", &[""], like("[01]{0,12}")),
        ],
    )
}

fn texts() -> Family {
    let long = "é".repeat(500_000);
    let mut long_text = column("text", &["", " ", "NULL", "\\x00", "{}", "'"], text(40));
    long_text.edges.push(long);
    family(
        "texts",
        vec![
            long_text,
            column("varchar(12)", &["", "éééééééééééé", "ends   "], text(12)),
            column("char(6)", &["", "ab", " ab", "ab    ", "abcdef"], text(6)),
            column("name", &["", "user"], like("[a-zA-Z éß\"']{0,20}")),
            column("\"char\"", &["", "x"], like("[a-zA-Z0-9]")),
            column("citext", &["Ada", "ADA"], text(12)),
            column(
                "uuid",
                &["00000000-0000-0000-0000-000000000000"],
                any::<u128>().prop_map(|id| uuid::Uuid::from_u128(id).to_string()).boxed(),
            ),
            column("bytea", &["\\x", "\\x00ff5c27"], bytes()),
        ],
    )
}

fn times() -> Family {
    let zoned = (time(), zone()).prop_map(|(time, zone)| format!("{time}{zone}")).boxed();
    let ends = ["infinity", "-infinity", "2024-02-29 23:59:59.999999+00", "0044-03-15 12:00:00+00 BC", "294276-12-31 23:59:59.999999+00"];
    family(
        "times",
        vec![
            column("timestamptz", &[&ends[..], &["4714-11-24 00:00:00+00 BC", "1890-01-01 00:00:00+00"]].concat(), timestamptz()),
            column(
                "timestamp",
                &["infinity", "-infinity", "2024-02-29 24:00:00", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999"],
                timestamp(),
            ),
            column("timestamptz(3)", &["2026-01-01 00:00:00.123+00"], timestamptz()),
            column("date", &["infinity", "-infinity", "0044-03-15 BC", "4714-11-24 BC", "5874897-12-31", "2000-02-29"], date()),
            column("time", &["00:00:00", "24:00:00", "23:59:59.999999"], time()),
            column("timetz", &["00:00:00+00", "24:00:00-15:59", "12:30:00.5+05:30"], zoned),
            column(
                "interval",
                &["0", "1 mon -1 days", "-1 years +2 days -00:00:00.000001", "2147483647 mons", "-2147483648 days"],
                interval(),
            ),
        ],
    )
}

fn addresses() -> Family {
    let mac = |bytes: usize| prop::collection::vec(like("[0-9a-f]{2}"), bytes..=bytes).prop_map(|bytes| bytes.join(":")).boxed();
    family(
        "addresses",
        vec![
            column("inet", &["10.0.0.1", "10.0.0.1/8", "::", "::ffff:10.0.0.1", "::10.0.0.1", "2001:db8::/32", "0.0.0.0/0"], inet()),
            column("cidr", &["10.0.0.0/8", "::/0", "10.1.2.3/32"], cidr()),
            column("macaddr", &["00:00:00:00:00:00"], mac(6)),
            column("macaddr8", &["08:00:2b:01:02:03:04:05"], mac(8)),
        ],
    )
}

fn documents() -> Family {
    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let mut texts = column("json", &["{\"b\": 1,  \"a\": 2, \"b\": 3}", "null", " 1.50 ", "1e400"], json());
    texts.edges.push(deep.clone());
    let mut values = column("jsonb", &["{\"b\": 1, \"a\": 2, \"b\": 3}", "null", "1.50", "1e400", "12345678901234567890"], json());
    values.edges.push(deep);
    family(
        "documents",
        vec![
            texts,
            values,
            column("xml", &["<a b=\"c\">d&amp;e</a>", "text only"], like("<a>[a-z ]{0,9}</a>")),
            column("tsquery", &["'fat' & !'rat'"], select(vec!["'a' | 'b'".to_owned(), "'super':*".to_owned()]).boxed()),
            column("hstore", &["\"a\"=>NULL, \"b,c\"=>\"d\""], like("\"[a-c]\"=>\"[a-z ,]{0,5}\"")),
            column("ltree", &["", "Top.Science"], like("[A-Za-z]{1,5}(\\.[a-z_0-9]{1,5}){0,3}")),
            column("jsonpath", &["$.\"a\"[*]"], select(vec!["$".to_owned(), "$.\"x\"".to_owned()]).boxed()),
        ],
    )
}

fn arrays() -> Family {
    let with = |sql_type, edges: &[&str], element: Texts| column(sql_type, edges, array(element));
    family(
        "arrays",
        vec![
            with("integer[]", &["{}", "{NULL}", "[0:1]={1,2}", "{{1,2},{3,NULL}}", "[-2:-2][3:4]={{1,2}}"], shown::<i32>()),
            with("bigint[]", &["{9223372036854775807}"], shown::<i64>()),
            with("text[]", &["{NULL,\"NULL\",\"\"}", "{\"a,b\",\"{x}\"}"], text(8)),
            with("varchar(5)[]", &["{abcde}"], text(5)),
            with("char(4)[]", &["{ab}"], like("[a-z]{0,4}")),
            with("numeric[]", &["{1.50,NaN,-Infinity,12345678901234567890.5}"], numeric()),
            with("double precision[]", &["{NaN,-Infinity,-0,5e-324}"], float()),
            with("boolean[]", &["{t,f,NULL}"], shown::<bool>()),
            with("timestamptz[]", &["{infinity,\"0044-03-15 12:00:00+00 BC\"}"], timestamptz()),
            with("date[]", &["{5874897-12-31}"], date()),
            with("interval[]", &["{\"1 mon -1 days\"}"], interval()),
            with("bytea[]", &["{\"\\\\x00\"}"], bytes()),
            with("uuid[]", &["{}"], any::<u128>().prop_map(|id| uuid::Uuid::from_u128(id).to_string()).boxed()),
            with("jsonb[]", &["{\"null\",NULL,\"[[1]]\",\"\\\"x\\\"\"}"], json()),
            with("json[]", &["{\"{\\\"b\\\":1, \\\"a\\\":2}\"}"], json()),
            with("inet[]", &["{10.0.0.1/32}"], inet()),
            with("pair[]", &["{\"(1,\\\"a b\\\")\"}"], like("\\([0-9]{1,3},[a-z]{0,4}\\)")),
            with("mood[]", &["{\"a,b\",\"NULL\",NULL}"], mood()),
            column("box[]", &["{(1,1),(0,0);(3,3),(2,2)}"], Just("{(5,5),(1,1)}".to_owned()).boxed()),
        ],
    )
}

fn mood() -> Texts {
    select(vec!["calm", "it's", "a,b", "\"q\"", "{x}", "NULL", " ü ", "\\"]).prop_map(str::to_owned).boxed()
}

fn named() -> Family {
    family(
        "named",
        vec![
            column("mood", &["it's", "NULL", "\\"], mood()),
            column("positive", &["1"], (1_i32..).prop_map(|number| number.to_string()).boxed()),
            column("short", &["12345678"], text(8)),
            column("price", &["1.50"], like("-?[0-9]{1,4}\\.[0-9]{2}")),
            column("moment", &["infinity"], timestamptz()),
            column("words", &["{}"], array(text(5))),
            column("pair", &["(,)", "(1,\"a \"\"b\"\"\")"], like("\\([0-9]{1,5},[a-z]{1,4}\\)")),
        ],
    )
}

fn ranges() -> Family {
    let ints = || range(any::<i16>().prop_map(i64::from).boxed(), ToString::to_string);
    let cents = || range((-100_000_i64..100_000).boxed(), |cents| format!("{}.{:02}", cents / 100, (cents % 100).abs()));
    let days =
        || range((1_i32..28, 1950_i32..2050).prop_map(|(day, year)| (year, day)).boxed(), |(year, day)| format!("{year}-03-{day:02}"));
    let moments = |zone: &'static str| {
        let bound = (1950_i32..2050, 0_u32..1_000_000).boxed();
        let show: fn(&(i32, u32)) -> String = if zone.is_empty() {
            |(y, us)| format!("{y}-03-01 12:00:00.{us:06}")
        } else {
            |(y, us)| format!("{y}-03-01 12:00:00.{us:06}+02")
        };
        range(bound, show)
    };
    family(
        "ranges",
        vec![
            column("int4range", &["empty", "(,)", "[1,3]", "[1,1)"], ints()),
            column("int8range", &["[1,9223372036854775807)"], ints()),
            column("numrange", &["[1.50,1.5]", "(,0]"], cents()),
            column("daterange", &["[2026-01-01,2026-01-31]", "[-infinity,infinity)"], days()),
            column("tsrange", &["(,\"2026-01-01 00:00:00\")"], moments("")),
            column("tstzrange", &["[infinity,)"], moments("z")),
            column("int4multirange", &["{}", "{[1,3),[3,5),[9,)}"], multirange(ints())),
            column("datemultirange", &["{}"], multirange(days())),
            column("int4range[]", &["{\"[1,3)\",empty}"], array(ints())),
        ],
    )
}

fn others() -> Family {
    let circle = (point(), 0_u32..1000).prop_map(|(point, radius)| format!("<{point},{radius}.5>")).boxed();
    let line = (1_i32..99, -99_i32..99, -99_i32..99).prop_map(|(a, b, c)| format!("{{{a},{b},{c}.25}}")).boxed();
    family(
        "others",
        vec![
            column("point", &["(0,0)", "(0.1,1e300)", "(NaN,-Infinity)"], point()),
            column("line", &["{1,0,0}"], line),
            column("lseg", &["[(0,0),(1,1)]"], points(2, 2)),
            column("box", &["(1,1),(0,0)"], points(2, 2)),
            column("path", &["[(0,0),(1,1)]", "((0,0),(1,1))"], points(1, 4).prop_map(|points| format!("[{points}]")).boxed()),
            column("polygon", &["((0,0),(1,1),(1,0))"], points(1, 4).prop_map(|points| format!("({points})")).boxed()),
            column("circle", &["<(0,0),1>"], circle),
            column("pg_lsn", &["0/0", "FFFFFFFF/FFFFFFFF"], like("[1-9A-F][0-9A-F]{0,3}/[1-9A-F][0-9A-F]{0,6}")),
            column("regclass", &["pg_class"], select(vec!["pg_type".to_owned(), "numbers".to_owned()]).boxed()),
            column("regtype", &["integer"], select(vec!["text".to_owned(), "mood".to_owned()]).boxed()),
            column("txid_snapshot", &["10:20:10,14,15"], Just("1:1:".to_owned()).boxed()),
        ],
    )
}
