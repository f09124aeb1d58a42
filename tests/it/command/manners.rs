//! What all verbs have in common: what is told, colours, instants in words, and what shells are told of the command.

use std::fs;

use super::{Shell, WITH_FILTERS, answer, bare};

#[test]
fn quiet_tells_errors_alone_and_verbose_how_a_line_was_understood() {
    let shell = Shell::new();
    let file = shell.file("in.jsonl", super::six());
    let quiet = shell.run(["import", &file, "-q"]);
    assert_eq!((quiet.code, quiet.words.as_str()), (0, ""));
    let failed = shell.run(["--quiet", "get", "none"]);
    assert_eq!(failed.code, 1);
    assert_eq!(failed.words, "error: no sample has the id \"none\"\n");
    let verbose = shell.run(["count", "-v", "--since", "2013-06", "--status", "ready,dlq"]);
    assert_eq!(verbose.data, "2\n");
    assert_eq!(
        verbose.words,
        "filters: --status ready --status dlq --since 2013-06-01T00:00:00Z\n"
    );
    let plain = shell.run(["count", "--since", "2013-06"]);
    assert_eq!(plain.words, "");
}

#[test]
fn every_instant_is_told_as_it_was_understood() {
    let shell = Shell::with_six();
    let put = ["put", "--pipeline", "p", "-v", "--created-at", "2013-06"];
    let put = shell.run([&put[..], &["--measured-at", "3 june 2013 18:00"]].concat());
    for line in [
        "--created-at: 2013-06-01T00:00:00Z",
        "--measured-at: 2013-06-03T18:00:00Z",
    ] {
        assert!(put.words.lines().any(|said| said == line), "{put:?}");
    }
    let prune = shell.run(["prune", "--older-than", "2013-06", "-v", "--dry-run"]);
    assert_eq!(
        prune.words,
        "filters: none\n--older-than: 2013-06-01T00:00:00Z\n"
    );
    let early = shell.run(["count", "-v", "--since", "-0044-03-15T00:00:00Z"]);
    assert_eq!(early.data, "7\n");
    assert!(early.words.contains("-0044-03-15T00:00:00Z"), "{early:?}");
    let misspelt = shell.run(["count", "--since", "yesteday"]);
    assert!(
        misspelt.words.contains("did you mean \"yesterday\"?"),
        "{misspelt:?}"
    );
}

#[test]
fn quiet_import_tells_that_records_were_rejected() {
    let answer = Shell::new().run_with(["import", "-q"], "{}\nx\n");
    assert_eq!(
        (answer.code, answer.words.as_str()),
        (3, "error: rejected 2 records\n")
    );
}

#[test]
fn what_changes_many_samples_says_first_how_many() {
    let shell = Shell::with_six();
    let removed = shell.run(["rm", "--id", "a", "--id", "nope", "--yes"]);
    assert_eq!(
        removed.words,
        "no sample has the id \"nope\"\nmatched: 1 sample (1 pending)\n"
    );
    let removed = shell.run(["rm", "--id", "nope", "--yes"]);
    assert_eq!(removed.words, "no sample has the id \"nope\"\n");
}

#[test]
fn instants_may_be_words() {
    let shell = Shell::with_six();
    for (words, count) in [
        (&["--since", "2013"][..], "6\n"),
        (&["--since", "2013-06", "--before", "2013-07"], "6\n"),
        (&["--before", "yesterday"], "6\n"),
        (&["--since", "last friday"], "0\n"),
        (&["--since", "1 june 2013 03:00"], "3\n"),
        (&["--after", "2 weeks ago"], "0\n"),
    ] {
        let words = ["count"].iter().chain(words).copied();
        assert_eq!(
            shell.data(words.clone()),
            count,
            "{:?}",
            words.collect::<Vec<_>>()
        );
    }
    let verbose = shell.run(["count", "-v", "--since", "yesterday"]).words;
    assert!(verbose.ends_with("T00:00:00Z\n"), "{verbose}");
}

#[test]
fn colours_go_into_a_pipe_only_when_that_is_asked_for() {
    let shell = Shell::with_six();
    let list = ["list", "-f", "table"];
    assert!(!shell.data(list).contains('\u{1b}'));
    let colored = shell.data(list.into_iter().chain(["--color", "always"]));
    assert!(colored.contains("\u{1b}[32mready\u{1b}[0m"), "{colored}");
    let chart = shell.data(["hist", "-f", "table", "--split", "status", "--color=always"]);
    assert!(chart.contains("\u{1b}[31m█"), "{chart}");
    let never = shell.data(list.into_iter().chain(["--color", "never"]));
    assert!(!never.contains('\u{1b}'));
}

#[test]
fn every_shell_gets_completions_of_every_verb() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let answer = answer(bare().args(["completions", shell]));
        assert_eq!((answer.code, answer.words.as_str()), (0, ""), "{shell}");
        for word in ["import", "salvage", "retry", "older-than"] {
            assert!(answer.data.contains(word), "{shell} {word}");
        }
    }
    let bash = answer(bare().args(["completions", "bash"])).data;
    for words in [" minute hour day week month", " import export put list "] {
        assert!(bash.contains(words), "{words}");
    }
    // Those that complete values know the statuses, for each flag that takes them.
    for (shell, begins) in [
        (
            "zsh",
            &["*--status=[", "*--from=[", "'--status=[", "':to -- "][..],
        ),
        ("fish", &["-l status ", "-l from "]),
    ] {
        let answer = answer(bare().args(["completions", shell]));
        for begin in begins {
            let mut lines = answer.data.lines().filter(|line| line.contains(begin));
            let is_told = lines.any(|line| line.contains("pending") || line.contains("labeled"));
            assert!(is_told, "{shell} {begin}");
        }
    }
}

#[test]
fn manual_pages_are_made_of_the_definition() {
    let page = answer(bare().arg("man"));
    assert_eq!(page.code, 0);
    assert!(page.data.contains(".TH samplestore 1"), "{}", page.data);
    assert!(page.data.contains(".SH \"EXIT CODES\""), "{}", page.data);
    let shell = Shell::new();
    let folder = shell.path("man/man1");
    let answer = shell.run(["man", "--folder", folder.to_str().unwrap()]);
    assert_eq!((answer.code, answer.data.as_str()), (0, ""), "{answer:?}");
    let page = fs::read_to_string(folder.join("samplestore-dlq-retry.1")).unwrap();
    assert!(page.contains("dry\\-run"), "{page}");
    let version = format!("\"samplestore {}\"", env!("CARGO_PKG_VERSION"));
    assert!(
        page.lines()
            .any(|line| line.starts_with(".TH") && line.contains(&version)),
        "{page}"
    );
    assert!(page.contains(".SH EXAMPLES\n.nf\n"), "{page}");
    let file = shell.file("file", "");
    assert_eq!(shell.run(["man", "--folder", &file]).code, 1);
    // A verb is no folder.
    let retry = shell.data(["man", "dlq", "retry"]);
    assert_eq!(retry, page);
    assert!(shell.data(["man", "list"]).contains("List samples"));
    assert!(!std::path::Path::new("list").exists());
}

#[test]
fn help_is_a_verb_too() {
    for (words, flags) in [
        (&["help"][..], &["--help"][..]),
        (&["help", "list"], &["list", "--help"]),
        (&["help", "dlq", "retry"], &["dlq", "retry", "--help"]),
    ] {
        let [by_verb, by_flag] = [words, flags].map(|words| answer(bare().args(words)));
        assert_eq!((by_verb.code, by_verb.words.as_str()), (0, ""));
        assert_eq!(by_verb.data, by_flag.data, "{words:?}");
    }
}

#[test]
fn help_tells_how_conditions_are_written_and_which_statuses_there_are() {
    for verb in ["list", "count", "mark", "rm", "prune", "export", "tail"] {
        let help = answer(bare().args([verb, "--help"])).data;
        for word in ["between 1 and 5", "ilike", "is missing", "data.tags[0]"] {
            assert!(help.contains(word), "{verb} {word}");
        }
        let statuses = "[possible values: pending, measured, ready, labeled, skipped, dlq]";
        // Lines are wrapped.
        let words: Vec<_> = help.split_whitespace().collect();
        assert!(words.join(" ").contains(statuses), "{verb}");
    }
}

#[test]
fn a_misspelt_pipeline_is_told_by_every_verb_that_looks_for_it() {
    let shell = Shell::with_six();
    let db = shell.db();
    for verb in WITH_FILTERS {
        let others = match verb {
            "mark" => vec!["ready", "--yes"],
            "rm" => vec!["--yes"],
            "prune" => vec!["--older-than", "1d", "--yes"],
            "copy" => vec![db.to_str().unwrap(), "memory:"],
            "dlq show" => vec!["898a119e"],
            "dlq retry" => vec!["--all", "--yes"],
            _ => Vec::new(),
        };
        let words = verb.split(' ').chain(others);
        let answer = shell.run(words.chain(["--pipeline", "evne"]));
        // It is about a group, which is not there.
        let code = i32::from(verb == "dlq show");
        assert_eq!(answer.code, code, "{verb} {answer:?}");
        let said = "no sample is of the pipeline \"evne\" (did you mean \"even\"?)\n";
        assert_eq!(answer.words.matches(said).count(), 1, "{verb} {answer:?}");
    }
    // Nor is one whose name is cut.
    for group in ["898a", "f"] {
        let answer = shell.run(["dlq", "show", group, "--pipeline", "evne"]);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(
            answer.words.contains("(did you mean \"even\"?)"),
            "{answer:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_text_is_named() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let shell = Shell::with_six();
    let name = OsStr::from_bytes(b"caf\xe9\x1b");
    let answer = answer(shell.command().args(["count", "--pipeline"]).arg(name));
    assert_eq!(answer.code, 2, "{answer:?}");
    let said = "error: this is no UTF-8: argument 3, \"caf\\xE9\\u{1b}\"\n";
    assert!(answer.words.starts_with(said), "{answer:?}");
}

#[test]
fn what_is_wrong_is_coloured_as_the_parser_does_and_only_when_asked() {
    let shell = Shell::with_six();
    for words in [&["count", "--statu"][..], &["count", "--cursor", "x"]] {
        for flag in [&["--color=always"][..], &["--color", "always"]] {
            let asked = shell.run([words, flag].concat());
            assert!(asked.words.contains("\u{1b}["), "{asked:?}");
        }
        for flag in [&[][..], &["--color", "never"]] {
            let answer = shell.run([words, flag].concat());
            assert_eq!(answer.code, 2, "{answer:?}");
            assert!(answer.words.starts_with("error:"), "{answer:?}");
            assert!(!answer.words.contains('\u{1b}'), "{answer:?}");
        }
    }
    let first = shell.run(["list", "--limit", "1"]).words;
    let cursor = first.trim().rsplit(' ').next().unwrap();
    let of_another = ["count", "--status", "dlq", "--cursor", cursor];
    let own = shell.run([&of_another[..], &["--color", "always"]].concat());
    let begin = "\u{1b}[31m\u{1b}[1merror:\u{1b}[0m --cursor: ";
    assert!(own.words.starts_with(begin), "{own:?}");
    assert!(own.words.contains("\u{1b}[32m hint:\u{1b}[0m "), "{own:?}");
}
