use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::{Map, data};

fn sample(data: Map, measurements: Map) -> Sample {
    let builder = Sample::builder("weather").data(data);
    builder.measurements(measurements).build().unwrap()
}

fn weather() -> Sample {
    sample(
        data! {
            "origin" => "JFK", "tags" => vec![Value::from("a"), Value::from(7)], "none" => Value::Null,
            "wind speed" => 5, "map" => data! { "x" => 1, "0" => "zero" }, "ok" => true,
            "text" => "50% of_it", "path" => r"C:\temp\x_1", "zero" => -0.0, "nan" => f64::NAN, "large" => u64::MAX,
        },
        data! { "temp" => 30.5, "count" => 30 },
    )
}

#[test]
fn what_matches_matches_and_what_is_unknown_does_not() {
    let sample = weather();
    for (text, is_true) in [
        ("measurements.temp > 30", Some(true)),
        ("measurements.temp > 30.5", Some(false)),
        ("measurements.count = 30.0", Some(true)),
        (
            "measurements.count >= 30.0 and measurements.count <= 30",
            Some(true),
        ),
        ("measurements.count < 30.5", Some(true)),
        ("data.zero = 0 and data.zero >= 0.0", Some(true)),
        ("data.large > 1e19", Some(true)),
        ("data.large = 18446744073709551615", Some(true)),
        ("data.large != 18446744073709551614", Some(true)),
        ("data.nan = 1", Some(false)),
        ("data.nan > 1", None),
        ("data.origin in (\"JFK\", \"LGA\")", Some(true)),
        ("data.origin IN ('LGA')", Some(false)),
        ("data.origin not in ('LGA')", Some(true)),
        ("data.origin = 5", Some(false)),
        ("data.origin <> 5", Some(true)),
        ("data.origin < 5", None),
        ("data.absent = 5", None),
        ("data.absent != 5", None),
        ("not data.absent = 5", None),
        ("data.none in (5)", None),
        ("data.absent = 5 or data.origin = 'JFK'", Some(true)),
        ("data.absent = 5 and data.origin = 'LGA'", Some(false)),
        ("data.absent is null and data.none is null", Some(true)),
        (
            "data.absent is missing and data.none is not missing",
            Some(true),
        ),
        ("data.origin is not null", Some(true)),
        ("data.tags[0] = 'a' and data.tags[1] = 7.0", Some(true)),
        ("data.tags[2] is missing", Some(true)),
        (
            "data.map.\"0\" = 'zero' and data.map[0] = 'zero'",
            Some(true),
        ),
        ("data.\"wind speed\" between 4 and 5", Some(true)),
        ("data.\"wind speed\" not between 6 and 9", Some(true)),
        ("data.origin between 4 and 5", None),
        (
            "data.tags contains 'a' and data.tags contains 7",
            Some(true),
        ),
        ("data.tags not contains 'b'", Some(true)),
        (
            "data.origin contains 'F' and data.map contains 'x'",
            Some(true),
        ),
        ("data.ok = true and data.ok > false", Some(true)),
        (
            "data.origin like 'J%' and data.origin like '_F_'",
            Some(true),
        ),
        ("data.origin like 'j%'", Some(false)),
        (
            "data.origin ilike 'j%' and data.origin not like 'F%'",
            Some(true),
        ),
        (r"data.text like '50\% of\_it'", Some(true)),
        (r"data.text like '5\% of\_it'", Some(false)),
        // Before anything but a wildcard and itself a backslash is itself.
        (r"data.path like 'C:\temp%'", Some(true)),
        (
            r"data.path like 'C:\\temp%' and data.path ilike 'c:\TEMP\\%'",
            Some(true),
        ),
        (r"data.path like 'C:\temp\\x\_1'", Some(true)),
        (r"data.path like 'C:\temp\%'", Some(false)),
        (r"data.path like 'C:temp%'", Some(false)),
        (
            r"data.text not like '%\' and data.path like '%\x__'",
            Some(true),
        ),
        (
            "data.origin not contains 'G' and data.none is null and not data.ok is null",
            Some(true),
        ),
        (
            "data.ok = false and data.ok = true or data.origin !~ 'L'",
            Some(true),
        ),
        ("data.large = 18446744073709551616.0", Some(false)),
        (
            r"data.origin ~ '^[A-Z]{3}$' and data.origin !~ '\d'",
            Some(true),
        ),
        ("measurements.temp like '3%'", None),
        (
            "not (measurements.temp > 40 or data.origin = 'LGA')",
            Some(true),
        ),
        ("not not measurements.temp > 30", Some(true)),
        ("measurements.temp>30and data.ok=true", None),
    ] {
        let Ok(condition) = text.parse::<Condition>() else {
            assert_eq!(text, "measurements.temp>30and data.ok=true");
            continue;
        };
        assert_eq!(condition.0.of(&sample).unwrap(), is_true, "{text}");
        let again: Condition = condition.to_string().parse().unwrap();
        assert_eq!(again, condition, "{condition}");
        assert_eq!(again.0.of(&sample).unwrap(), is_true, "{condition}");
    }
}

#[test]
fn an_error_points_at_the_character() {
    for (text, message) in [
        (
            "",
            "expected data.FIELD or measurements.FIELD at character 1",
        ),
        ("measurements.temp >", "expected a value at character 20"),
        (
            "measurements.temp > hot",
            "expected a value at character 21: measurements.temp > »hot",
        ),
        (
            "measurments.temp > 1",
            "at character 1: »measurments.temp > 1 (did you mean measurements?)",
        ),
        (
            "temp > 1",
            "expected data.FIELD or measurements.FIELD at character 1: »temp > 1 (did you mean measurements.temp or data.temp?)",
        ),
        ("DATA.day = 1", "»DATA.day = 1 (did you mean data?)"),
        (
            "data.a = 1 adn data.b = 2",
            "expected and, or, or the end at character 12: data.a = 1 »adn data.b = 2 (did you mean and?)",
        ),
        ("data.a", "expected a comparison at character 7"),
        ("data = 1", "expected a field behind data at character 5"),
        ("(data.a = 1", "expected ) at character 12"),
        ("data.a in (1, )", "expected a value at character 15"),
        ("data.a in 1", "expected ( at character 11"),
        ("data.a = \"x", "expected a closing quote at character 12"),
        (
            r#"data.a = "\x""#,
            "expected an escape of JSON at character 11",
        ),
        (
            "data.a = null",
            "expected a value (null is asked for by is null) at character 10",
        ),
        ("data.a ~ '('", "regular expression"),
        ("data.a between 1 or 2", "expected and at character 18"),
        (
            "data.é = 1e999",
            "expected a number that can be kept at character 10",
        ),
        (
            "data.a = -9223372036854775809",
            "expected a whole number of 64 bits (with a point it is a float) at character 10: data.a = »-92",
        ),
        (
            "data.a in (1, 18446744073709551616)",
            "expected a whole number of 64 bits (with a point it is a float) at character 15",
        ),
        (
            "data.a = -",
            "expected a number that can be kept at character 10",
        ),
    ] {
        let error = text.parse::<Condition>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidQuery, "{text}");
        assert!(error.to_string().contains(message), "{text}: {error}");
    }
    let deep = format!("{}data.a = 1{}", "(".repeat(65), ")".repeat(65));
    assert!(
        deep.parse::<Condition>()
            .unwrap_err()
            .to_string()
            .contains("64 deep")
    );
    let deepest = format!("{}data.a = 1{}", "(".repeat(64), ")".repeat(64));
    assert_eq!(
        deepest.parse::<Condition>().unwrap().to_string(),
        "data.a = 1"
    );
    let long = format!("data.a = '{}'", "x".repeat(TEXT_BYTES_MAX));
    assert!(long.parse::<Condition>().is_err());
}

#[test]
fn what_may_be_read_may_be_read_again_as_it_is_written() {
    let nested = |inner: &str| {
        let begin = "(data.z = 1 or ".repeat(DEPTH_MAX);
        format!("{begin}{inner}{}", ")".repeat(DEPTH_MAX))
    };
    let quotes = "\"".repeat(40_000);
    for text in [
        nested("data.a not in (1)"),
        nested("data.a not between 1 and 2"),
        nested("data.a not like 'x'"),
        nested("data.a !~ 'x'"),
        nested("data.a not contains 1"),
        nested("data.a is not null"),
        nested("data.a is not missing"),
        nested("data.a = 1 and data.b = 2"),
        format!("data.a ~ '{}'", &quotes[..1_000]),
        format!("data.a = '{quotes}'"),
        format!("data.a = '{}'", r"\".repeat(40_000)),
    ] {
        let condition: Condition = text.parse().unwrap();
        let written = condition.to_string();
        let again: Condition = written.parse().unwrap();
        assert_eq!(again, condition);
        assert_eq!(again.to_string(), written);
    }
    // Spaces that were left out, figures, and escapes: what would be too long when it is written is refused.
    for text in [
        format!("data.a in (1{})", ",1".repeat(32_000)),
        format!("data.a in (1e15{})", ",1e15".repeat(10_000)),
        format!("data.a = '{}'", "\u{1}".repeat(20_000)),
    ] {
        assert!(text.len() <= TEXT_BYTES_MAX);
        let error = text.parse::<Condition>().unwrap_err().to_string();
        assert!(
            error.contains("65536 bytes long, also as it is written out"),
            "{error}"
        );
    }
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ]
}

fn fields() -> impl Strategy<Value = Field> {
    let part = prop_oneof![Just(Part::Data), Just(Part::Measurements)];
    let step = prop_oneof!["[a-z0-9_-]{1,6}", any::<String>(), "[0-9]{1,3}"];
    (part, prop::collection::vec(step, 1..4)).prop_map(|(part, path)| Field { part, path })
}

fn nodes() -> impl Strategy<Value = Node> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let comparisons = vec![Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual];
    let comparison = prop::sample::select(comparisons);
    let leaf = prop_oneof![
        (fields(), comparison, values()).prop_map(|(a, b, c)| Node::Compare(a, b, c)),
        (fields(), prop::collection::vec(values(), 1..4)).prop_map(|(a, b)| Node::OneOf(a, b)),
        (fields(), values(), values()).prop_map(|(a, b, c)| Node::Between(a, b, c)),
        (fields(), any::<String>(), any::<bool>())
            .prop_map(|(a, b, c)| Node::Matches(a, Pattern::like(&b, c).unwrap())),
        (fields(), values()).prop_map(|(a, b)| Node::Contains(a, b)),
        fields().prop_map(Node::Null),
        fields().prop_map(Node::Missing),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Node::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Node::Or),
            inner.prop_map(|node| Node::Not(Box::new(node))),
        ]
    })
}

proptest! {
    #[test]
    fn the_text_form_reads_back(node in nodes()) {
        let condition = Condition(Arc::new(node));
        let text = condition.to_string();
        prop_assert_eq!(text.parse::<Condition>().unwrap(), condition.clone());
        let json = serde_json::to_string(&condition).unwrap();
        prop_assert_eq!(serde_json::from_str::<Condition>(&json).unwrap(), condition);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,80}|(data\\.a|[<>=~!()'\"., ]|and|not|in|1){0,12}") {
        if let Ok(condition) = text.parse::<Condition>() {
            condition.matches(&weather()).unwrap();
        }
    }
}
