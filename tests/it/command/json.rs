//! The JSON that verbs write: exactly the names and types that the chapter *reference* has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use samplestore::{Database, Sample, Storage};
use serde_json::Value as Json;

use super::{Shell, six};

/// The chapter, which another test writes anew when asked.
fn chapter() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/reference.md");
    fs::read_to_string(path).unwrap()
}

/// Verbs that write no report.
const WITHOUT: [&str; 6] = ["put", "tail", "index", "dlq", "completions", "man"];

/// A name of the chapter: its type, and whether it may be absent.
type Names = BTreeMap<String, (String, bool)>;

/// The tables of the chapter by their headings.
fn sections() -> BTreeMap<String, Names> {
    let chapter = chapter();
    let (_, json) = chapter.split_once("\n# JSON\n").unwrap();
    let mut sections = BTreeMap::new();
    for section in json.split("\n## ").skip(1) {
        let (title, text) = section.split_once('\n').unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| `"));
        let names = rows.map(|row| {
            let mut cells = row.split('|').skip(1).map(str::trim);
            let (name, kind) = (cells.next().unwrap(), cells.next().unwrap());
            let may_be_absent = kind.ends_with(", absent");
            let kind = kind.trim_end_matches(", absent").to_owned();
            (name.trim_matches('`').to_owned(), (kind, may_be_absent))
        });
        assert!(sections.insert(title.to_owned(), names.collect()).is_none());
    }
    sections
}

/// Compares JSON with a table, and keeps which of its names were met.
struct Comparison<'a> {
    names: &'a Names,
    met: BTreeSet<String>,
}

impl Comparison<'_> {
    fn compare(&mut self, at: &str, value: &Json) {
        match value {
            Json::Object(fields) => {
                for (name, value) in fields {
                    self.compare_named(at, name, value);
                }
                for (child, (_, may_be_absent)) in self.names {
                    let Some(name) = child_of(at, child) else {
                        continue;
                    };
                    let is_there = is_any(name) || *may_be_absent || fields.contains_key(name);
                    assert!(is_there, "{child} is not there: {value}");
                }
            }
            Json::Array(elements) => {
                let at = format!("{at}[]");
                for element in elements {
                    match self.names.contains_key(&at) {
                        true => self.compare_kind(&at, element),
                        false => self.compare(&at, element),
                    }
                }
            }
            _ => {}
        }
    }

    fn compare_named(&mut self, at: &str, name: &str, value: &Json) {
        let children = self.names.keys().filter_map(|child| child_of(at, child));
        let known = children.filter(|child| *child == name || is_any(child));
        let known = known.max_by_key(|child| *child == name);
        let known = known.unwrap_or_else(|| panic!("{name} in {at:?} is not told of: {value}"));
        let path = match at {
            "" => known.to_owned(),
            at => format!("{at}.{known}"),
        };
        self.compare_kind(&path, value);
    }

    fn compare_kind(&mut self, path: &str, value: &Json) {
        let (kinds, _) = &self.names[path];
        let is_right = kinds.split(" or ").any(|kind| is_of(kind, value));
        assert!(is_right, "{path} is no {kinds}: {value}");
        self.met.insert(path.to_owned());
        if kinds != "any" {
            self.compare(path, value);
        }
    }
}

/// The name of a child where `path` is one of `at`.
fn child_of<'a>(at: &str, path: &'a str) -> Option<&'a str> {
    let name = match at {
        "" => path,
        at => path.strip_prefix(at)?.strip_prefix('.')?,
    };
    (!name.contains(['.', '['])).then_some(name)
}

/// Whether it stands for any name.
fn is_any(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn is_of(kind: &str, value: &Json) -> bool {
    match kind {
        "any" => true,
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "list" => value.is_array(),
        "object" => value.is_object(),
        "instant" => {
            let text = value.as_str().unwrap_or_default();
            text.ends_with('Z') && text.parse::<chrono::DateTime<chrono::Utc>>().is_ok()
        }
        other => panic!("there is no type {other}"),
    }
}

/// What was compared with which table.
struct Reports {
    sections: BTreeMap<String, Names>,
    met: BTreeMap<String, BTreeSet<String>>,
}

impl Reports {
    fn new() -> Self {
        Self {
            sections: sections(),
            met: BTreeMap::new(),
        }
    }

    /// Compares each JSON text with the table of this heading.
    fn add(&mut self, title: &str, texts: &str) {
        let names = self.sections.get(title);
        let mut comparison = Comparison {
            names: names.unwrap_or_else(|| panic!("there is no table {title}")),
            met: self.met.remove(title).unwrap_or_default(),
        };
        let mut count = 0;
        for json in serde_json::Deserializer::from_str(texts).into_iter::<Json>() {
            comparison.compare("", &json.unwrap());
            count += 1;
        }
        assert!(count > 0, "{title}: nothing was written");
        self.met.insert(title.to_owned(), comparison.met);
    }

    fn finish(&self) {
        for (title, names) in &self.sections {
            let none = BTreeSet::new();
            let met = self.met.get(title).unwrap_or(&none);
            // Without the feature there is no such table.
            if met.is_empty() && title.contains("Delta") && !cfg!(feature = "delta") {
                continue;
            }
            let named: BTreeSet<_> = names.keys().cloned().collect();
            assert_eq!(*met, named, "{title}");
        }
    }
}

/// The six and two more, one with all that a sample has.
fn shell() -> Shell {
    let shell = Shell::with_six();
    let text = r#"{"id":"z","pipeline":"odd","status":"dlq","measured_at":"2013-06-02T00:00:00Z",
        "created_at":"2013-06-02T00:00:00Z","data":{"map":{"a":[1]},"none":null},"measurements":{"m":1}}"#;
    let answer = shell.run_with(["import", "-"], &text.replace('\n', ""));
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(shell.run(["index", "add", "measurements.m"]).code, 0);
    shell
}

fn add_of_reading(reports: &mut Reports, shell: &Shell) {
    const SAMPLES: &str = "list, get, export, dlq list, dlq show";
    let json = ["-f", "json"];
    let data = |words: &[&str]| shell.data([words, &json].concat());
    let groups: Json = serde_json::from_str(&data(&["dlq", "group"])).unwrap();
    let group = groups["groups"][0]["group"].as_str().unwrap();
    for words in [
        &["list"][..],
        &["list", "--limit", "1"],
        &["get", "a", "z"],
        &["export"],
        &["dlq", "list"],
        &["dlq", "show", group],
    ] {
        reports.add(SAMPLES, &data(words));
    }
    for (title, words) in [
        ("count", &["count"][..]),
        ("facets", &["facets"]),
        ("facets --by", &["facets", "--by", "pipeline"]),
        ("facets --by", &["facets", "--by", "status"]),
        ("hist", &["hist"]),
        ("hist", &["hist", "hour", "--split", "pipeline"]),
        ("hist", &["hist", "--split", "status"]),
        ("schema", &["schema"]),
        ("stats", &["stats"]),
        ("explain", &["explain", "--where", "measurements.m > 4"]),
        ("explain", &["explain", "--where", "measurements.m >= 0"]),
        ("explain", &["explain", "--id", "a"]),
        ("dlq group", &["dlq", "group"]),
        ("dlq group", &["dlq", "group", "--status", "skipped"]),
        ("index list", &["index", "list"]),
        ("check", &["check"]),
        ("repair", &["repair"]),
    ] {
        reports.add(title, &data(words));
    }
    let by_flag = shell.data(["hist", "--json"]);
    assert_eq!(by_flag, data(&["hist"]));
}

fn add_of_changing(reports: &mut Reports, shell: &Shell) {
    for (title, words) in [
        ("mark", &["mark", "dlq", "--id", "a"][..]),
        ("rm", &["rm", "--id", "b"]),
        ("prune", &["prune", "--keep-newest", "1"]),
        ("dlq retry", &["dlq", "retry", "--all"]),
    ] {
        for consent in ["--dry-run", "--yes"] {
            let words = [words, &[consent, "-f", "json"]].concat();
            reports.add(title, &shell.data(words));
        }
    }
    reports.add("compact", &shell.data(["compact", "-f", "json"]));
    let copy = shell.path("copy.db");
    let words = ["backup", copy.to_str().unwrap(), "-f", "json"];
    reports.add("backup", &shell.data(words));
    reports.add("reindex", &shell.data(["reindex", "--json"]));
    #[cfg(feature = "delta")]
    {
        let url = format!("delta+file:{}", shell.path("table").display());
        assert_eq!(shell.run_with(["-d", &url, "import"], &six()).code, 0);
        let words = ["-d", &url, "compact", "-f", "json"];
        reports.add("compact, of a Delta Lake table", &shell.data(words));
    }
}

fn add_of_import(reports: &mut Reports) {
    let shell = Shell::new();
    let rejects = shell.path("rejects");
    let import = |words: &[&str], input: &str| {
        let of_rejects = ["--rejects", rejects.to_str().unwrap(), "--overwrite"];
        let answer = shell.run_with([&["import", "--json"], words, &of_rejects].concat(), input);
        assert_eq!(answer.code, 3, "{answer:?}");
        (answer.data, fs::read_to_string(&rejects).unwrap())
    };
    let csv = shell.file(
        "a.csv",
        "id,pipeline,status,created_at,measured_at\na,p,reday,2013-01-01T00:00:00Z,\nb\n",
    );
    for (words, input) in [
        (&[][..], format!("{}no JSON\n{{\"id\":1}}\n[1]\n", six())),
        (&["--format", "json"], "[{}]".to_owned()),
        (&[csv.as_str()], String::new()),
    ] {
        let (report, rejected) = import(words, &input);
        reports.add("import", &report);
        reports.add("import --rejects", &rejected);
    }
}

fn add_of_copy(reports: &mut Reports, shell: &Shell) {
    let (from, to) = (shell.db(), shell.path("to.db"));
    let copy = [
        "copy",
        from.to_str().unwrap(),
        to.to_str().unwrap(),
        "--json",
    ];
    reports.add("copy", &shell.data(copy));
    // What is not equal is hard to come by; the names of ids are those of any list.
    let verified = shell.data([&copy[..], &["--verify"]].concat());
    let mut verified: Json = serde_json::from_str(&verified).unwrap();
    assert_eq!(verified["verified"]["ids"], Json::Array(Vec::new()));
    verified["verified"]["ids"] = serde_json::json!(["a"]);
    reports.add("copy", &verified.to_string());
}

/// Writes a file with a bit of it turned wherever these bytes are.
fn write_damaged(shell: &Shell, whole: &[u8], pattern: &[u8]) {
    let mut bytes = whole.to_vec();
    for at in 0..whole.len() - pattern.len() {
        if whole[at..].starts_with(pattern) {
            bytes[at + 1] ^= 0x40;
        }
    }
    assert!(bytes != whole);
    fs::write(shell.db(), bytes).unwrap();
}

/// Of files in which an index or a record is damaged, and of which the tables were cut off.
fn add_of_rescue(reports: &mut Reports) {
    let shell = Shell::with_six();
    let whole = fs::read(shell.db()).unwrap();
    // `created_at` of the fourth sample, in an index.
    write_damaged(&shell, &whole, &1_370_055_600_000_000_i64.to_le_bytes());
    let checked = shell.run(["check", "-f", "json"]);
    assert_eq!(checked.code, 6, "{checked:?}");
    let checked: Json = serde_json::from_str(&checked.data).unwrap();
    let mut repaired: Json = serde_json::from_str(&shell.data(["repair", "-f", "json"])).unwrap();
    reports.add("repair", &repaired.to_string());
    // What it finds is written as `check` writes it; opening the file may have made some of it good.
    repaired["found"] = checked;
    reports.add("repair", &repaired.to_string());
    // A word of its data.
    write_damaged(&shell, &whole, b"\xa2w3");
    let to = shell.path("saved.db");
    let salvage = ["salvage", to.to_str().unwrap()];
    for (title, words, code) in [
        ("check", &["check"][..], 5),
        ("repair", &["repair"], 5),
        ("salvage", &salvage, 3),
    ] {
        let answer = shell.run([words, &["-f", "json"]].concat());
        assert_eq!(answer.code, code, "{answer:?}");
        reports.add(title, &answer.data);
    }
    fs::write(shell.db(), whole).unwrap();
    fs::remove_file(&to).unwrap();

    let database = Database::open(shell.db()).unwrap();
    for number in 0..3_000 {
        let sample = Sample::builder("p").id(format!("{number}"));
        let sample = sample.data(samplestore::data! { "text" => "x".repeat(200) });
        database.store(&[sample.build().unwrap()]).unwrap();
    }
    database.close().unwrap();
    let whole = fs::read(shell.db()).unwrap();
    fs::write(
        shell.db(),
        &whole[..(8 << 20) + (whole.len() - (8 << 20)) * 4 / 5],
    )
    .unwrap();
    let answer = shell.run([&salvage[..], &["-f", "json"]].concat());
    assert_eq!(answer.code, 3, "{answer:?}");
    reports.add("salvage", &answer.data);
}

#[test]
fn every_report_has_the_names_of_the_reference_and_no_other() {
    let mut reports = Reports::new();
    let shell = shell();
    add_of_reading(&mut reports, &shell);
    add_of_copy(&mut reports, &shell);
    add_of_changing(&mut reports, &shell);
    add_of_import(&mut reports);
    add_of_rescue(&mut reports);
    reports.finish();
}

#[test]
fn every_verb_that_writes_a_report_has_a_table() {
    let sections = sections();
    let titles: BTreeSet<_> = sections
        .keys()
        .flat_map(|title| title.split(", "))
        .collect();
    let chapter = chapter();
    let (commands, _) = chapter.split_once("\n# JSON\n").unwrap();
    let verbs = commands.lines().filter_map(|line| line.strip_prefix("# "));
    let mut verbs: Vec<_> = verbs.collect();
    verbs.retain(|verb| *verb != "samplestore" && !WITHOUT.contains(verb));
    verbs.retain(|verb| !["index add", "index drop"].contains(verb));
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs {
        assert!(titles.contains(verb), "{verb}");
    }
}

#[test]
fn import_tells_figures_to_whoever_reads_json_alone() {
    let shell = Shell::new();
    let answer = shell.run_with(["import", "--json", "-q"], &six());
    assert_eq!((answer.code, answer.words.as_str()), (0, ""));
    let report: Json = serde_json::from_str(&answer.data).unwrap();
    let figures = ["inserted", "replaced", "skipped", "rejected"].map(|name| report[name].as_u64());
    assert_eq!(figures, [6, 0, 0, 0].map(Some));
    assert_eq!(shell.run_with(["import"], &six()).data, "");
}
