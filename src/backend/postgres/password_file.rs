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

/// The password in this file, if there is one.
pub(super) fn look_up(file: &Path, login: &Login<'_>) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    if is_open_to_others(file) {
        tracing::warn!(name: "password_file", file = %file.display(), "the password file is passed over: others may read it; set its mode to 0600");
        return None;
    }
    find(&text, login)
}

#[cfg(unix)]
fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
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
        for (mode, found) in [(0o600, Some("word")), (0o640, None), (0o604, None)] {
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(look_up(&file, &login).as_deref(), found, "{mode:o}");
        }
        assert_eq!(look_up(&folder.path().join("none"), &login), None);
    }
}
