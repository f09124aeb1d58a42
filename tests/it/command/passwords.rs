//! Passwords in what is given as `--db`: nothing of them is shown, and no file is called like one.

use std::path::Path;

use super::Shell;

#[test]
fn passwords_are_not_told() {
    let shell = Shell::new();
    for url in [
        "redb://me:hush@host/x?creat=1",
        "memory:?password=hush",
        "memory://me:hush@x",
    ] {
        let answer = shell.run(["-d", url, "count"]);
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(!answer.words.contains("hush"), "{answer:?}");
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_piece_of_a_password_is_not_told_as_an_option() {
    let shell = Shell::new();
    for url in [
        "postgres://host/db?password=word&hush",
        "postgres://host/db?password=word&hush=1",
    ] {
        let answer = shell.run(["-d", url, "count"]);
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.words.contains("is written %26"), "{answer:?}");
        assert!(!answer.words.contains("hush"), "{answer:?}");
    }
}

/// Whatever of it was forgotten, it is no file: that would be made, and shown whole.
#[test]
fn a_login_without_its_scheme_is_no_file() {
    let shell = Shell::new();
    let folder = shell.path("empty");
    std::fs::create_dir(&folder).unwrap();
    for text in [
        "app:hush@host/weather",
        "app:hush@host:5432/weather",
        "my_app:hush@host/weather",
        "//app:hush@host/weather",
        "///app:hush@host/weather",
        "postgres//app:hush@host/weather",
        r"CORP\app:hush@host",
        "app:h/ush@host",
    ] {
        refused(
            &shell,
            &folder,
            text,
            &["there is no scheme", "without a scheme"],
        );
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_connection_string_is_no_file() {
    let shell = Shell::new();
    let folder = shell.path("empty");
    std::fs::create_dir(&folder).unwrap();
    for text in [
        "host=127.0.0.1 password=hush",
        "host=127.0.0.1 PassWd=hush",
        "Pwd=hush",
    ] {
        refused(&shell, &folder, text, &["postgres://"]);
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

/// That each verb refuses this place with one of these words, and shows no password.
fn refused(shell: &Shell, folder: &Path, text: &str, said: &[&str]) {
    for words in [
        &["-d", text, "count"][..],
        &["-d", text, "put", "--pipeline", "p"],
        &["copy", "memory:", text],
    ] {
        let mut command = shell.command();
        command.current_dir(folder).args(words);
        let answer = super::answer(&mut command);
        assert_eq!(answer.code, 2, "{answer:?}");
        let is_said = said.iter().any(|said| answer.words.contains(said));
        let is_shown = answer.words.contains("hush") || answer.words.contains("ush@");
        assert!(is_said && !is_shown, "{answer:?}");
    }
}
