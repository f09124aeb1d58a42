//! [`Pattern`]: what a string must look like.

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A pattern, compiled once.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    operator: &'static str,
    text: String,
    regex: Regex,
}

impl Pattern {
    /// `like`, or `ilike` when the case of letters does not matter.
    pub(super) fn like(text: &str, ignores_case: bool) -> Result<Self, regex::Error> {
        let mut regex = String::from("^");
        let mut literal = String::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let wildcard = match char {
                '%' => ".*",
                '_' => ".",
                // Before anything else, and at the end, a backslash is itself: paths of Windows have many.
                '\\' => {
                    let escaped = chars.clone().next().filter(|next| "%_\\".contains(*next));
                    if escaped.is_some() {
                        chars.next();
                    }
                    literal.push(escaped.unwrap_or('\\'));
                    continue;
                }
                char => {
                    literal.push(char);
                    continue;
                }
            };
            regex.push_str(&regex::escape(&std::mem::take(&mut literal)));
            regex.push_str(wildcard);
        }
        regex.push_str(&regex::escape(&literal));
        regex.push('$');
        let operator = if ignores_case { "ilike" } else { "like" };
        Self::compile(operator, text, &regex, ignores_case)
    }

    /// A regular expression that is found anywhere.
    pub(super) fn regex(text: &str) -> Result<Self, regex::Error> {
        Self::compile("~", text, text, false)
    }

    fn compile(
        operator: &'static str,
        text: &str,
        regex: &str,
        ignores_case: bool,
    ) -> Result<Self, regex::Error> {
        let regex = RegexBuilder::new(regex)
            .case_insensitive(ignores_case)
            // For `like`, whose wildcards take line ends too.
            .dot_matches_new_line(operator != "~")
            .size_limit(COMPILED_BYTES_MAX)
            .build()?;
        Ok(Self {
            operator,
            text: text.to_owned(),
            regex,
        })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The operator in the text form.
    pub(super) fn operator(&self) -> &'static str {
        self.operator
    }

    /// What stands behind the operator.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (self.operator, &self.text) == (other.operator, &other.text)
    }
}

impl Eq for Pattern {}
