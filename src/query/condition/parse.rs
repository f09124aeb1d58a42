//! The text form of conditions, read.

use winnow::ascii::multispace0;
use winnow::combinator::{alt, cut_err, delimited, fail, opt, preceded, repeat, terminated};
use winnow::error::{ContextError, ErrMode, FromExternalError, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::token::{any, rest, take_while};

use super::pattern::Pattern;
use super::{Comparison, DEPTH_MAX, Field, Node, Part, TEXT_BYTES_MAX};
use crate::error::{Error, ErrorKind, Result};
use crate::query::nearest;
use crate::value::Value;

/// Words of the language, for who mistypes one.
const WORDS: &[&str] = &[
    "data",
    "measurements",
    "and",
    "or",
    "not",
    "in",
    "between",
    "like",
    "ilike",
    "contains",
    "is",
    "null",
    "missing",
    "true",
    "false",
];

/// What is said where no field begins.
const ROOT: &str = "expected data.FIELD or measurements.FIELD";
const ROOT_EXPECTED: &str = "data.FIELD or measurements.FIELD";
/// Fields of a sample itself, of which conditions know nothing, and what does.
const OTHERS: [(&str, &str); 7] = [
    ("id", "ids are what the filter --id is for"),
    (
        "pipeline",
        "pipelines are what the filter --pipeline is for",
    ),
    ("status", "statuses are what the filter --status is for"),
    (
        "created_at",
        "it is what the filters --since, --after, --until and --before are for",
    ),
    (
        "created",
        "created_at is what the filters --since, --after, --until and --before are for",
    ),
    ("measured_at", "no filter is about measured_at"),
    ("reason", "reasons are told by samplestore dlq"),
];

/// The condition that a text means.
pub(super) fn condition(text: &str) -> Result<Node> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(invalid(format!(
            "a condition may be {TEXT_BYTES_MAX} bytes long"
        )));
    }
    let node = read(
        text,
        terminated(|input: &mut &str| disjunction(input, 0), end),
    )?;
    // It must be read again, from JSON and by who goes on from a cursor; spaces and digits that were left out are in it then.
    match node.to_string().len() > TEXT_BYTES_MAX {
        true => Err(invalid(format!(
            "a condition may be {TEXT_BYTES_MAX} bytes long, also as it is written out"
        ))),
        false => Ok(node),
    }
}

/// The field that a text means.
pub(super) fn field(text: &str) -> Result<Field> {
    let end = expected(multispace0, "the end");
    read(text, terminated(path, end))
}

fn read<'a, T>(
    text: &'a str,
    mut parser: impl Parser<&'a str, T, ErrMode<ContextError>>,
) -> Result<T> {
    parser.parse(text).map_err(|error| {
        let (before, behind) = text.split_at(error.offset());
        let at = before.chars().count() + 1;
        let reasons = error.inner().context().map(|context| match context {
            StrContext::Label(label) => (*label).to_owned(),
            other => other.to_string(),
        });
        let mut reason = reasons.collect::<Vec<_>>().into_iter();
        let cause = error.inner().cause().map(ToString::to_string);
        let what = cause.or_else(|| reason.next());
        let what = what.unwrap_or_else(|| "expected the end".to_owned());
        let word: String = behind
            .chars()
            .take_while(|char| char.is_alphanumeric() || *char == '_')
            .collect();
        let as_written = word;
        let word = as_written.to_lowercase();
        let near = nearest(&word, WORDS.iter().copied()).filter(|near| *near != word);
        let other = OTHERS
            .iter()
            .find(|(name, _)| what == ROOT && *name == word);
        let near = match (other, near) {
            (Some((_, filters)), _) => format!(" ({filters})"),
            (None, Some(near)) => format!(" (did you mean {near}?)"),
            (None, None) if what != ROOT => String::new(),
            (None, None) if ["data", "measurements"].contains(&&*word) => {
                format!(" (did you mean {word}?)")
            }
            (None, None) if may_be_field(&word) => {
                format!(" (did you mean measurements.{as_written} or data.{as_written}?)")
            }
            (None, None) => String::new(),
        };
        invalid(format!("{what} at character {at}: {before}»{behind}{near}"))
    })
}

/// Whether a word may be meant as the name of a field whose root was left out.
fn may_be_field(word: &str) -> bool {
    word.starts_with(char::is_alphabetic) && !WORDS.contains(&word)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidQuery, "read a condition").with_message(message)
}

/// `parser`, or an error that says what was expected where it began.
fn expected<'a, T>(
    parser: impl Parser<&'a str, T, ErrMode<ContextError>>,
    what: &'static str,
) -> impl Parser<&'a str, T, ErrMode<ContextError>> {
    parser.context(StrContext::Expected(StrContextValue::Description(what)))
}

fn end(input: &mut &str) -> ModalResult<()> {
    multispace0.parse_next(input)?;
    match input.is_empty() {
        true => Ok(()),
        false => expected(cut_err(fail), "and, or, or the end").parse_next(input),
    }
}

/// A word of the language, whatever its case.
fn keyword<'a>(word: &'static str) -> impl Parser<&'a str, (), ErrMode<ContextError>> {
    preceded(multispace0, take_while(1.., is_word))
        .verify(move |found: &str| found.eq_ignore_ascii_case(word))
        .void()
}

fn symbol<'a>(symbol: &'static str) -> impl Parser<&'a str, (), ErrMode<ContextError>> {
    preceded(multispace0, symbol).void()
}

/// `symbol`, which must come here.
fn must<'a>(text: &'static str) -> impl Parser<&'a str, (), ErrMode<ContextError>> {
    preceded(multispace0, expected(cut_err(text.void()), text))
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_' || char == '-'
}

/// Whether a name may stand in a path without quotes.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_word)
}

/// Whether a step is written in brackets: a number as it is written in full.
pub(super) fn is_place(step: &str) -> bool {
    step.parse::<u32>()
        .is_ok_and(|place| place.to_string() == step)
}

fn disjunction(input: &mut &str, depth: usize) -> ModalResult<Node> {
    let mut nodes = vec![conjunction(input, depth)?];
    while opt(keyword("or")).parse_next(input)?.is_some() {
        nodes.push(conjunction(input, depth)?);
    }
    Ok(one_or(nodes, Node::Or))
}

fn conjunction(input: &mut &str, depth: usize) -> ModalResult<Node> {
    let mut nodes = vec![negation(input, depth)?];
    while opt(keyword("and")).parse_next(input)?.is_some() {
        nodes.push(negation(input, depth)?);
    }
    Ok(one_or(nodes, Node::And))
}

/// A single node as it is, more of them joined.
fn one_or(mut nodes: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        last => {
            nodes.extend(last);
            join(nodes)
        }
    }
}

fn negation(input: &mut &str, depth: usize) -> ModalResult<Node> {
    if depth > DEPTH_MAX {
        let label = StrContext::Label("conditions nest at most 64 deep, exceeded");
        return cut_err(fail).context(label).parse_next(input);
    }
    if opt(keyword("not")).parse_next(input)?.is_some() {
        return Ok(Node::Not(Box::new(negation(input, depth + 1)?)));
    }
    if opt(symbol("(")).parse_next(input)?.is_some() {
        let node = disjunction(input, depth + 1)?;
        must(")").parse_next(input)?;
        return Ok(node);
    }
    predicate(input)
}

fn predicate(input: &mut &str) -> ModalResult<Node> {
    let field = path(input)?;
    if let Some(comparison) = opt(comparison).parse_next(input)? {
        return Ok(Node::Compare(field, comparison, value(input)?));
    }
    if let Some(is_negated) =
        opt(alt((symbol("!~").value(true), symbol("~").value(false)))).parse_next(input)?
    {
        let pattern = pattern(input, Pattern::regex)?;
        return Ok(negated(is_negated, Node::Matches(field, pattern)));
    }
    if opt(keyword("is")).parse_next(input)?.is_some() {
        let is_negated = opt(keyword("not")).parse_next(input)?.is_some();
        let presence = alt((keyword("null").value(true), keyword("missing").value(false)));
        multispace0.parse_next(input)?;
        let node = match expected(cut_err(presence), "null or missing").parse_next(input)? {
            true => Node::Null(field),
            false => Node::Missing(field),
        };
        return Ok(negated(is_negated, node));
    }
    let is_negated = opt(keyword("not")).parse_next(input)?.is_some();
    multispace0.parse_next(input)?;
    let word = alt((
        keyword("in").value("in"),
        keyword("between").value("between"),
        keyword("like").value("like"),
        keyword("ilike").value("ilike"),
        keyword("contains").value("contains"),
    ));
    let node = match expected(cut_err(word), "a comparison").parse_next(input)? {
        "in" => Node::OneOf(field, values(input)?),
        "between" => {
            let first = value(input)?;
            multispace0.parse_next(input)?;
            expected(cut_err(keyword("and")), "and").parse_next(input)?;
            Node::Between(field, first, value(input)?)
        }
        "contains" => Node::Contains(field, value(input)?),
        word => {
            let like = |text: &str| Pattern::like(text, word == "ilike");
            Node::Matches(field, pattern(input, like)?)
        }
    };
    Ok(negated(is_negated, node))
}

fn negated(is_negated: bool, node: Node) -> Node {
    match is_negated {
        true => Node::Not(Box::new(node)),
        false => node,
    }
}

fn comparison(input: &mut &str) -> ModalResult<Comparison> {
    alt((
        symbol("==").value(Comparison::Equal),
        symbol("=").value(Comparison::Equal),
        symbol("!=").value(Comparison::NotEqual),
        symbol("<>").value(Comparison::NotEqual),
        symbol("<=").value(Comparison::LessOrEqual),
        symbol(">=").value(Comparison::GreaterOrEqual),
        symbol("<").value(Comparison::Less),
        symbol(">").value(Comparison::Greater),
    ))
    .parse_next(input)
}

fn path(input: &mut &str) -> ModalResult<Field> {
    multispace0.parse_next(input)?;
    let root = take_while(1.., is_word).verify_map(|word: &str| match word {
        "data" => Some(Part::Data),
        "measurements" => Some(Part::Measurements),
        _ => None,
    });
    let part = expected(cut_err(root), ROOT_EXPECTED).parse_next(input)?;
    let place = delimited(
        "[",
        expected(
            cut_err(take_while(1.., '0'..='9').verify(is_place)),
            "a place in a list",
        ),
        expected(cut_err("]"), "]"),
    );
    let name = expected(
        cut_err(alt((quoted, take_while(1.., is_word).map(str::to_owned)))),
        "a name",
    );
    let step = alt((preceded(".", name), place.map(str::to_owned)));
    let steps = repeat(1.., step);
    let path: Vec<String> = match part {
        Part::Data => expected(cut_err(steps), "a field behind data").parse_next(input)?,
        Part::Measurements => {
            expected(cut_err(steps), "a field behind measurements").parse_next(input)?
        }
    };
    Ok(Field { part, path })
}

fn values(input: &mut &str) -> ModalResult<Vec<Value>> {
    must("(").parse_next(input)?;
    let mut values = vec![value(input)?];
    while opt(symbol(",")).parse_next(input)?.is_some() {
        values.push(value(input)?);
    }
    must(")").parse_next(input)?;
    Ok(values)
}

fn value(input: &mut &str) -> ModalResult<Value> {
    multispace0.parse_next(input)?;
    if input.starts_with(['"', '\'']) {
        return quoted.map(Value::from).parse_next(input);
    }
    if input.starts_with(|char: char| {
        char.is_ascii_digit() || char == '-' || char == '.' || char == '+'
    }) {
        return number(input);
    }
    if opt(keyword("null")).parse_next(&mut { *input })?.is_some() {
        return expected(cut_err(fail), "a value (null is asked for by is null)").parse_next(input);
    }
    let word = alt((keyword("true").value(true), keyword("false").value(false)));
    expected(cut_err(word), "a value")
        .map(Value::from)
        .parse_next(input)
}

fn number(input: &mut &str) -> ModalResult<Value> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '+' | '.');
    let mut number = take_while(1.., is_part);
    let start = *input;
    let text: &str = number.parse_next(input)?;
    let whole = text.parse::<i64>().map(Value::from);
    let whole = whole.or_else(|_| text.parse::<u64>().map(Value::from));
    if let Ok(whole) = whole {
        return Ok(whole);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    // As a float it would be another number, which some sample may have.
    let is_too_large = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let float = text.parse::<f64>().ok().filter(|float| float.is_finite());
    match float.filter(|_| !is_too_large) {
        Some(float) => Ok(float.into()),
        None => {
            *input = start;
            let what = match is_too_large {
                true => "a whole number of 64 bits (with a point it is a float)",
                false => "a number that can be kept",
            };
            expected(cut_err(fail), what).parse_next(input)
        }
    }
}

fn pattern(
    input: &mut &str,
    compile: impl Fn(&str) -> Result<Pattern, regex::Error>,
) -> ModalResult<Pattern> {
    multispace0.parse_next(input)?;
    let start = *input;
    let text = expected(cut_err(quoted), "a string").parse_next(input)?;
    compile(&text).map_err(|error| {
        *input = start;
        // The last line says what is wrong; those before it draw the pattern.
        let error = error.to_string();
        let reason = error
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        let context = FromExternalError::from_external_error(
            input,
            NotAPattern(format!("expected a regular expression ({reason})")),
        );
        ErrMode::Cut(context)
    })
}

/// Why a regular expression is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotAPattern(String);

/// A string: in double quotes with the escapes of JSON, in single quotes as it is.
fn quoted(input: &mut &str) -> ModalResult<String> {
    let quote = any
        .verify(|char| matches!(char, '"' | '\''))
        .parse_next(input)?;
    let mut text = String::new();
    loop {
        let mut closing = expected(cut_err(any), "a closing quote");
        let before = *input;
        match closing.parse_next(input)? {
            char if char == quote => match quote == '\'' && input.starts_with('\'') {
                true => {
                    any.parse_next(input)?;
                    text.push('\'');
                }
                false => return Ok(text),
            },
            '\\' if quote == '"' => {
                *input = before;
                text.push_str(&expected(cut_err(escape), "an escape of JSON").parse_next(input)?);
            }
            char => text.push(char),
        }
    }
}

/// One escape of JSON, or two that are one character.
fn escape(input: &mut &str) -> ModalResult<String> {
    let lengths = match input.as_bytes().get(1) {
        Some(b'u') => [6, 12],
        _ => [2, 2],
    };
    for length in lengths {
        if let Some(escape) = input.get(..length)
            && let Ok(text) = serde_json::from_str::<String>(&format!("\"{escape}\""))
        {
            *input = &input[length..];
            return Ok(text);
        }
    }
    rest.verify(|_: &str| false).void().parse_next(input)?;
    Ok(String::new())
}
