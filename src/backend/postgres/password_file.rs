//! The password file of libpq, `~/.pgpass`: `host:port:database:user:password` a line.
//!
//! `*` stands for anything, `\:` and `\\` for themselves, the first line that fits counts. A file that others may read
//! is passed over, as libpq does. Source: <https://www.postgresql.org/docs/current/libpq-pgpass.html>.

use std::path::Path;

/// Who connects to what.
pub(super) struct Login<'a> {
    pub(super) host: &'a str,
    pub(super) port: &'a str,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// What a password file has for a login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Password(String),
    /// It is not there, or has no line that fits.
    Nothing,
    /// It was not asked, and why.
    PassedOver(String),
}

/// Looks for the password in this file.
pub(super) fn look_up(file: &Path, login: &Login<'_>) -> Found {
    let Ok(text) = std::fs::read_to_string(file) else {
        return Found::Nothing;
    };
    if let Some(mode) = mode_for_others(file) {
        tracing::warn!(name: "password_file", file = %file.display(), "the password file is passed over: others may read it; set its mode to 0600");
        return Found::PassedOver(format!(
            "the password file {} is passed over: its mode {mode:04o} lets others read it; set it to 0600",
            file.display()
        ));
    }
    find(&text, login).map_or(Found::Nothing, Found::Password)
}

/// The mode of a file that others than its owner may read or write.
#[cfg(unix)]
fn mode_for_others(file: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn mode_for_others(_: &Path) -> Option<u32> {
    None
}

fn find(text: &str, login: &Login<'_>) -> Option<String> {
    let wanted = [login.host, login.port, login.database, login.user];
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let [fields @ .., password] = fields(line)?;
            let fits = fields
                .iter()
                .zip(wanted)
                .all(|(field, wanted)| match field {
                    Field::Any => true,
                    Field::Text(text) => text == wanted,
                });
            match password {
                Field::Text(password) if fits => Some(password),
                Field::Any if fits => Some("*".to_owned()),
                _ => None,
            }
        })
}

enum Field {
    /// A bare `*`.
    Any,
    Text(String),
}

/// The five fields of a line; `None` when it has fewer.
fn fields(line: &str) -> Option<[Field; 5]> {
    let mut texts = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        // The password is the rest of the line but for escapes.
        let is_last = texts.len() == 5;
        match character {
            ':' if !is_last => texts.push(String::new()),
            '\\' => texts.last_mut()?.extend(characters.next()),
            other => texts.last_mut()?.push(other),
        }
    }
    let fields = texts.into_iter().map(|text| match text.as_str() {
        "*" => Field::Any,
        _ => Field::Text(text),
    });
    fields.collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_counts() {
        let text = "\
# a comment:5432:db:me:no
db.example:5432:other:me:wrong database
db.example:5432:*:me:first
*:*:*:*:a\\:b\\\\c:d
short:line
";
        let look = |host, port, database, user| {
            let login = Login {
                host,
                port,
                database,
                user,
            };
            find(text, &login)
        };
        assert_eq!(look("db.example", "5432", "db", "me").unwrap(), "first");
        assert_eq!(look("db.example", "5433", "db", "me").unwrap(), r"a:b\c:d");
        assert_eq!(
            look("db.example", "5432", "other", "me").unwrap(),
            "wrong database"
        );
        assert_eq!(
            find(
                "h:1:d:u:p",
                &Login {
                    host: "h",
                    port: "1",
                    database: "d",
                    user: "x"
                }
            ),
            None
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_passed_over() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgpass");
        std::fs::write(&file, "*:*:*:*:word\n").unwrap();
        let login = Login {
            host: "h",
            port: "1",
            database: "d",
            user: "u",
        };
        for (mode, told) in [(0o600, None), (0o640, Some("0640")), (0o604, Some("0604"))] {
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            match (look_up(&file, &login), told) {
                (Found::Password(word), None) => assert_eq!(word, "word"),
                (Found::PassedOver(why), Some(mode)) => assert!(why.contains(mode), "{why}"),
                other => panic!("{mode:o}: {other:?}"),
            }
        }
        let none = folder.path().join("none");
        assert_eq!(look_up(&none, &login), Found::Nothing);
    }
}
