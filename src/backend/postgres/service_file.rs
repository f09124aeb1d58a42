//! The service files of libpq: sections of connection parameters, `[NAME]` and `name=value` lines.
//!
//! The user's own file is `PGSERVICEFILE` or `~/.pg_service.conf`, that of the system `pg_service.conf` in
//! `PGSYSCONFDIR`. Source: <https://www.postgresql.org/docs/current/libpq-pgservice.html>.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::backend::Location;
use crate::backend::ini::{self, Section};
use crate::error::{Error, Result};

/// Where Debian has the system's file unless `PGSYSCONFDIR` says.
const SYSTEM_FOLDER: &str = "/etc/postgresql-common";

/// What a service stands for.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when neither file has it, and those of reading
/// the files.
pub(super) fn look_up(
    service: &str,
    location: &Location,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Section> {
    let named = variable("PGSERVICEFILE").map(PathBuf::from);
    let own = named.or_else(|| Some(Path::new(&variable("HOME")?).join(".pg_service.conf")));
    let folder = variable("PGSYSCONFDIR").unwrap_or_else(|| SYSTEM_FOLDER.to_owned());
    let system = Path::new(&folder).join("pg_service.conf");
    for file in own.into_iter().chain([system]) {
        if let Some(found) = read(&file, service, location)? {
            return Ok(found);
        }
    }
    Err(location.invalid(format!("there is no service {service:?}")))
}

/// A section of a file; `None` where either is not there.
fn read(file: &Path, service: &str, location: &Location) -> Result<Option<Section>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(ini::section(&text, service)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::io(
            "read services of PostgreSQL",
            format!("{} (for {location})", file.display()),
            cause,
        )),
    }
}
