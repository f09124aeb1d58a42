//! Sections of INI files, in which AWS's tools have profiles and libpq has services.
//!
//! A line is a `[section]`, a `name = value`, or a comment that begins with `#` or `;`. Indented lines below a
//! name without a value are a list of its own, which is passed over.

use std::collections::BTreeMap;

/// What a section says, by names in small letters.
pub(super) type Section = BTreeMap<String, String>;

/// The section of this name, if there is one; of two the settings of both.
pub(super) fn section(text: &str, name: &str) -> Option<Section> {
    let mut found = None;
    let mut is_in = false;
    let mut has_list = false;
    for line in text.lines() {
        let is_indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(heading) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            let words: Vec<_> = heading.split_whitespace().collect();
            is_in = words.join(" ") == name;
            has_list = false;
            if is_in {
                found.get_or_insert_with(Section::new);
            }
        } else if !(has_list && is_indented)
            && let Some((name, value)) = line.split_once('=')
        {
            has_list = value.trim().is_empty();
            if let Some(section) = found.as_mut().filter(|_| is_in) {
                section.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
# the first one
[default]
region = eu-central-1
s3 =
    max_concurrent_requests = 20
[ profile  work ]
AWS_ACCESS_KEY_ID=AKIA=1
; nothing
  endpoint_url = http://127.0.0.1:9000
";

    #[test]
    fn sections_are_told_apart() {
        let default = section(FILE, "default").unwrap();
        let of = |section: &Section, name| section.get(name).cloned();
        assert_eq!(of(&default, "region").as_deref(), Some("eu-central-1"));
        assert_eq!(of(&default, "max_concurrent_requests"), None);
        let work = section(FILE, "profile work").unwrap();
        assert_eq!(of(&work, "aws_access_key_id").as_deref(), Some("AKIA=1"));
        let endpoint = of(&work, "endpoint_url");
        assert_eq!(endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(of(&work, "region"), None);
        assert_eq!(section(FILE, "work"), None);
        assert_eq!(section("", "default"), None);
    }
}
