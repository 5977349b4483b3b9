//! Random values of PostgreSQL's types, as the text that PostgreSQL reads them from.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;

pub(crate) type Texts = BoxedStrategy<String>;

/// Texts that a regular expression describes.
pub(crate) fn like(regex: &str) -> Texts {
    string_regex(regex).unwrap().boxed()
}

/// Any text that PostgreSQL holds, of at most so many characters.
pub(crate) fn text(most: usize) -> Texts {
    let letter = prop_oneof![
        4 => any::<char>().prop_filter("NUL", |letter| *letter != '\0'),
        2 => select(vec!['\'', '"', '\\', ',', '{', '}', ' ', '\n', '\t', '(', ')', '[', ']', ':', '/', '%']),
        4 => prop::char::range('a', 'z'),
    ];
    prop::collection::vec(letter, 0..=most).prop_map(String::from_iter).boxed()
}

pub(crate) fn shown<T: std::fmt::Debug + std::fmt::Display + Arbitrary + 'static>() -> Texts {
    any::<T>().prop_map(|value| value.to_string()).boxed()
}

pub(crate) fn float() -> Texts {
    let of = prop_oneof![any::<f64>(), any::<i32>().prop_map(f64::from), (-1000.0..1000.0)];
    of.prop_map(|number: f64| {
        if number.is_infinite() { if number > 0.0 { "Infinity".into() } else { "-Infinity".into() } } else { format!("{number:?}") }
    })
    .boxed()
}

pub(crate) fn single() -> Texts {
    any::<f32>().prop_map(|number| if number.is_infinite() { "-Infinity".into() } else { number.to_string() }).boxed()
}

/// A finite number without a great exponent, for geometry.
fn coordinate() -> Texts {
    prop_oneof![(-1e6..1e6).prop_map(|number: f64| format!("{number:?}")), (-50_i32..50).prop_map(|number| number.to_string())].boxed()
}

/// `(x,y)`.
pub(crate) fn point() -> Texts {
    (coordinate(), coordinate()).prop_map(|(x, y)| format!("({x},{y})")).boxed()
}

pub(crate) fn points(least: usize, most: usize) -> Texts {
    prop::collection::vec(point(), least..=most).prop_map(|points| points.join(",")).boxed()
}

pub(crate) fn numeric() -> Texts {
    prop_oneof![like("-?[0-9]{1,40}(\\.[0-9]{1,30})?"), like("-?[1-9]\\.[0-9]{1,5}e-?[0-9]{1,3}"), like("-?[0-9]{1,6}\\.[0-9]0{1,4}")]
        .boxed()
}

fn calendar(last: i64) -> BoxedStrategy<(String, bool)> {
    let year = prop_oneof![4 => (1900_i64..2100).boxed(), 1 => (1_i64..last).boxed(), 1 => (-4712_i64..0).boxed()];
    let day = prop_oneof![9 => (1_u32..13, 1_u32..29).boxed(), 1 => select(vec![(2_u32, 29_u32), (12, 31), (1, 31)]).boxed()];
    (year, day)
        .prop_map(|(year, (month, day))| {
            let leap = |year: i64| year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
            let astronomical = if year < 0 { year + 1 } else { year };
            let day = if (month, day) == (2, 29) && !leap(astronomical) { 28 } else { day };
            (format!("{:04}-{month:02}-{day:02}", year.abs()), year < 0)
        })
        .boxed()
}

fn era(before_christ: bool) -> &'static str {
    if before_christ { " BC" } else { "" }
}

pub(crate) fn date() -> Texts {
    calendar(5_874_897).prop_map(|(date, bc)| format!("{date}{}", era(bc))).boxed()
}

pub(crate) fn time() -> Texts {
    (0_u32..24, 0_u32..60, 0_u32..60, prop_oneof![Just(0_u32), 0_u32..1_000_000])
        .prop_map(|(hours, minutes, seconds, micros)| format!("{hours:02}:{minutes:02}:{seconds:02}.{micros:06}"))
        .boxed()
}

pub(crate) fn zone() -> Texts {
    let minutes = select(vec![0, 0, 30, 45]);
    (select(vec!["+", "-"]), 0_u32..15, minutes).prop_map(|(sign, hours, minutes)| format!("{sign}{hours:02}:{minutes:02}")).boxed()
}

pub(crate) fn timestamp() -> Texts {
    (calendar(294_276), time()).prop_map(|((date, bc), time)| format!("{date} {time}{}", era(bc))).boxed()
}

pub(crate) fn timestamptz() -> Texts {
    (calendar(294_276), time(), zone()).prop_map(|((date, bc), time, zone)| format!("{date} {time}{zone}{}", era(bc))).boxed()
}

pub(crate) fn interval() -> Texts {
    let part = || prop_oneof![Just(0_i32), -40_i32..40, any::<i32>()];
    let micros = prop_oneof![Just(0_i64), -100_000_000_000_i64..100_000_000_000, -9_000_000_000_000_000_000_i64..9_000_000_000_000_000_000];
    (part(), part(), micros)
        .prop_map(|(months, days, micros)| {
            let (sign, size) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
            format!("{months} mons {days} days {sign}{}.{:06} secs", size / 1_000_000, size % 1_000_000)
        })
        .boxed()
}

pub(crate) fn inet() -> Texts {
    let four = (any::<std::net::Ipv4Addr>(), 0_u32..=32).prop_map(|(address, bits)| format!("{address}/{bits}"));
    let six = (any::<std::net::Ipv6Addr>(), 0_u32..=128).prop_map(|(address, bits)| format!("{address}/{bits}"));
    prop_oneof![four, six, any::<std::net::IpAddr>().prop_map(|address| address.to_string())].boxed()
}

pub(crate) fn cidr() -> Texts {
    let four = (any::<u32>(), 0_u32..=32).prop_map(|(address, bits)| {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        format!("{}/{bits}", std::net::Ipv4Addr::from(address & mask))
    });
    let six = (any::<u128>(), 0_u32..=128).prop_map(|(address, bits)| {
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        format!("{}/{bits}", std::net::Ipv6Addr::from(address & mask))
    });
    prop_oneof![four, six].boxed()
}

pub(crate) fn bytes() -> Texts {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| format!("\\x{}", hex(&bytes))).boxed()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON as people write it: white space, doubled keys, numbers beyond a double.
pub(crate) fn json() -> Texts {
    let string = || text(8).prop_map(|text| serde_json::to_string(&text).unwrap()).boxed();
    let leaf = prop_oneof![
        select(vec!["null", "true", "false", "0", "-0", "1e400", "-1.50", "12345678901234567890123", "0.1000"]).prop_map(str::to_owned),
        string(),
        like("-?[1-9][0-9]{0,25}(\\.[0-9]{1,10})?"),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let members = (select(vec!["\"a\"".to_owned(), "\"bb\"".to_owned(), "\"\"".to_owned(), "\"é\\n\"".to_owned()]), inner.clone())
            .prop_map(|(name, value)| format!("{name} : {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec(members, 0..5).prop_map(|members| format!("{{ {} }}", members.join(","))),
        ]
    })
    .boxed()
}

/// An array of these elements: of one dimension, of two, or beginning elsewhere than at 1.
pub(crate) fn array(element: Texts) -> Texts {
    let element = prop_oneof![
        1 => Just("NULL".to_owned()),
        6 => element.prop_map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))),
    ]
    .boxed();
    let plain = prop::collection::vec(element.clone(), 0..5).prop_map(|items| format!("{{{}}}", items.join(",")));
    let square = prop::collection::vec(element.clone(), 4..=4)
        .prop_map(|items| format!("{{{{{},{}}},{{{},{}}}}}", items[0], items[1], items[2], items[3]));
    let shifted = (-3_i32..5, prop::collection::vec(element, 1..4))
        .prop_map(|(lower, items)| format!("[{lower}:{}]={{{}}}", lower + items.len() as i32 - 1, items.join(",")));
    prop_oneof![5 => plain, 1 => square, 1 => shifted].boxed()
}

/// A range between two of these, or without an end, or empty. `ordered` puts the lower one first.
pub(crate) fn range<T: std::fmt::Debug + Clone + Ord + 'static>(bound: BoxedStrategy<T>, show: fn(&T) -> String) -> Texts {
    let end = prop::option::weighted(0.8, bound);
    let between = (select(vec!['[', '(']), end.clone(), end, select(vec![']', ')'])).prop_map(move |(open, left, right, close)| {
        let (left, right) = match (left, right) {
            (Some(left), Some(right)) if right < left => (Some(right), Some(left)),
            ends => ends,
        };
        let show = |end: Option<T>| end.map(|end| format!("\"{}\"", show(&end))).unwrap_or_default();
        format!("{open}{},{}{close}", show(left), show(right))
    });
    prop_oneof![1 => Just("empty".to_owned()), 9 => between].boxed()
}

pub(crate) fn multirange(range: Texts) -> Texts {
    prop::collection::vec(range, 0..4).prop_map(|ranges| format!("{{{}}}", ranges.join(","))).boxed()
}
