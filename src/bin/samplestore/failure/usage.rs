//! What the parser of the command line has to say, made safe for a terminal.

use std::error::Error as StdError;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};

use super::{Code, MESSAGE_CHARS_MAX, complaint, report};
use crate::output::{escape, shorten};

/// No more of a word of the command line is repeated.
const WORD_CHARS_MAX: usize = 100;

/// Tells what the parser of the command line has to say, help and version among it.
pub(crate) fn report_usage(mut answer: clap::Error) -> ExitCode {
    if answer.use_stderr() {
        make_safe(&mut answer);
        let mut styled = answer.render();
        // Why a value is refused cannot be changed within the answer, and may repeat it, too.
        let cause = answer.source().map(ToString::to_string);
        let cause = cause.filter(|text| escape(text) != *text);
        if let Some(cause) = &cause {
            let text = styled.ansi().to_string();
            styled = StyledStr::from(text.replace(cause, &escape(cause)));
        }
        let plain = styled.to_string();
        let is_long = |line: &str| line.chars().count() > MESSAGE_CHARS_MAX;
        if cause.is_some() || plain.lines().any(is_long) {
            for line in plain.lines() {
                complaint(&shorten(line, MESSAGE_CHARS_MAX));
            }
            return ExitCode::from(Code::Usage as u8);
        }
    }
    // Whoever asked for help and closed the pipe has seen enough. Where mistakes are told, nobody can be told of another one.
    if let Err(error) = answer.print()
        && !answer.use_stderr()
    {
        return report(Err(error.into()));
    }
    ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(Code::Usage as u8))
}

/// What the user gave, which the parser repeats as it is, made safe for a terminal and short.
fn make_safe(answer: &mut clap::Error) {
    let safe = |text: &str| shorten(&escape(text), WORD_CHARS_MAX).into_owned();
    let given: Vec<(ContextKind, ContextValue)> = answer
        .context()
        .map(|(kind, value)| (kind, value.clone()))
        .collect();
    // Tips repeat it, too, within their own text.
    let words: Vec<String> = given
        .iter()
        .filter_map(|(_, value)| match value {
            ContextValue::String(text) if safe(text) != *text => Some(text.clone()),
            _ => None,
        })
        .collect();
    if words.is_empty() {
        return;
    }
    let styled = |text: &StyledStr| {
        let text = text.ansi().to_string();
        let text = words
            .iter()
            .fold(text, |text, word| text.replace(word.as_str(), &safe(word)));
        StyledStr::from(text)
    };
    for (kind, value) in given {
        let value = match value {
            ContextValue::String(text) => ContextValue::String(safe(&text)),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.iter().map(|text| safe(text)).collect())
            }
            ContextValue::StyledStr(text) => ContextValue::StyledStr(styled(&text)),
            ContextValue::StyledStrs(texts) => {
                ContextValue::StyledStrs(texts.iter().map(styled).collect())
            }
            other => other,
        };
        answer.insert(kind, value);
    }
}
