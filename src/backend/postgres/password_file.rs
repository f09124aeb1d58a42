//! The password file of libpq, `~/.pgpass`: `host:port:database:user:password` a line.
//!
//! `*` stands for anything, `\:` and `\\` for themselves, the first line that fits counts. A file that others may read
//! is passed over, as libpq does. Source: <https://www.postgresql.org/docs/current/libpq-pgpass.html>.

use std::path::{Path, PathBuf};

use super::config::{PORT, Parameters, SOCKET_FOLDERS};

/// Looks for a password that nothing else says, and gives the reason why a file was not asked. There is one password for all
/// hosts: that of the first one that the file has one for.
pub(super) fn fill(parameters: &mut Parameters, home: Option<&Path>) -> Option<String> {
    if parameters.contains_key("password") {
        return None;
    }
    let file = parameters.get("passfile").map(PathBuf::from);
    let file = file.or_else(|| Some(home?.join(".pgpass")))?;
    let each = |name: &str| {
        let value = parameters.get(name).map(String::as_str);
        value.map(|value| value.split(',').collect::<Vec<_>>())
    };
    let first = |name: &str| each(name).and_then(|values| values.first().copied());
    let user = first("user").unwrap_or_default();
    let hosts = each("host")
        .or_else(|| each("hostaddr"))
        .unwrap_or_default();
    let ports = each("port").unwrap_or_default();
    for (at, host) in hosts.into_iter().enumerate() {
        let is_socket = SOCKET_FOLDERS.contains(&host);
        let login = Login {
            host: if is_socket { "localhost" } else { host },
            port: ports.get(at).or(ports.first()).copied().unwrap_or(PORT),
            database: first("dbname").unwrap_or(user),
            user,
        };
        match look_up(&file, &login) {
            Found::Password(password) => {
                parameters.insert("password", password);
                return None;
            }
            Found::Nothing => {}
            Found::PassedOver(why) => return Some(why),
        }
    }
    None
}

/// Who connects to what.
struct Login<'a> {
    host: &'a str,
    port: &'a str,
    database: &'a str,
    user: &'a str,
}

/// What a password file has for a login.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Password(String),
    /// It is not there, or has no line that fits.
    Nothing,
    /// It was not asked, and why.
    PassedOver(String),
}

/// Looks for the password in this file.
fn look_up(file: &Path, login: &Login<'_>) -> Found {
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

    #[cfg(unix)]
    #[test]
    fn it_is_asked_for_each_host() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".pgpass");
        std::fs::write(&file, "two:7:db:me:second\nthree:*:db:me:third\n").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        for (hosts, ports, found) in [
            ("one,two,three", "6,7,8", Some("second")),
            ("one,two,three", "8", Some("third")),
            ("one,four", "7", None),
        ] {
            let given = [
                ("host", hosts),
                ("port", ports),
                ("dbname", "db"),
                ("user", "me"),
            ];
            let given = given.map(|(name, value)| (name, value.to_owned()));
            let mut parameters = Parameters::from(given);
            assert_eq!(fill(&mut parameters, Some(folder.path())), None);
            let password = parameters.get("password").map(String::as_str);
            assert_eq!(password, found, "{hosts}");
        }
    }
}
