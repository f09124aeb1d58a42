//! [`served`]: the process that reads a file for another one.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;

use super::{END, FAILED, GREETING, PLAIN, READER, SAMPLES, TEXT, TOO_LONG};
use crate::input::columnar::{BatchReader, ROWS_MAX};
use crate::input::{BUFFER_BYTES, InputFormat, RECORD_BYTES_MAX, Record};
use crate::output;

/// If this process was started to read a file, does it, and says how it ends.
pub(crate) fn served() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().filter(|first| first == READER)?;
    let format = arguments.next().unwrap_or_default();
    let format = InputFormat::from_str(format.to_str()?, false).ok();
    let format = format.filter(|format| format.is_columnar())?;
    let watched = thread::Builder::new().spawn(end_unheard);
    let mut messages = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    let served = watched.and_then(|_| serve(format, &mut messages));
    Some(match served.and_then(|()| messages.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Where nobody reads on, there is nobody to tell.
        Err(_) => ExitCode::FAILURE,
    })
}

/// Ends this process when the other one is gone, however long the step is that it is at.
fn end_unheard() {
    while output::wait(Duration::from_secs(3_600)).is_ok() {}
    process::exit(1);
}

fn serve(format: InputFormat, messages: &mut impl Write) -> io::Result<()> {
    messages.write_all(GREETING)?;
    match told(format, messages) {
        Ok(told) => told,
        Err(cause) => {
            messages.write_all(&[FAILED])?;
            let number = cause.raw_os_error().unwrap_or_default();
            messages.write_all(&number.to_le_bytes())?;
            write_text(cause.to_string().as_bytes(), messages)
        }
    }
}

/// Tells the records; an error is one of the file, and one within it that nobody hears them.
fn told(format: InputFormat, messages: &mut impl Write) -> io::Result<io::Result<()>> {
    let file = stdin()?;
    confine(&file)?;
    // Should what follows end this process, what is told by then is heard.
    if let Err(unheard) = messages.flush() {
        return Ok(Err(unheard));
    }
    let mut reader = BatchReader::new(file, format)?;
    let kind = match reader.has_samples() {
        true => SAMPLES,
        false => PLAIN,
    };
    let mut heard = messages.write_all(&[kind]);
    for number in 0_usize.. {
        if number.is_multiple_of(ROWS_MAX) {
            heard = heard.and_then(|()| messages.flush());
        }
        if heard.is_err() {
            break;
        }
        heard = match reader.next()? {
            None => return Ok(messages.write_all(&[END])),
            Some((_, Record::Json(text))) if text.len() <= RECORD_BYTES_MAX => messages
                .write_all(&[TEXT])
                .and_then(|()| write_text(text, messages)),
            Some(_) => messages.write_all(&[TOO_LONG]),
        };
    }
    Ok(heard)
}

fn write_text(text: &[u8], messages: &mut impl Write) -> io::Result<()> {
    const { assert!(RECORD_BYTES_MAX < u32::MAX as usize) };
    // Words are shorter, and what has its end cut off is no less an error.
    let text = &text[..text.len().min(RECORD_BYTES_MAX)];
    messages.write_all(&(text.len() as u32).to_le_bytes())?;
    messages.write_all(text)
}

#[cfg(unix)]
fn stdin() -> io::Result<File> {
    use std::os::fd::AsFd;

    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

#[cfg(windows)]
fn stdin() -> io::Result<File> {
    use std::os::windows::io::AsHandle;

    Ok(io::stdin().as_handle().try_clone_to_owned()?.into())
}

/// Bounds what this process takes; other systems than Linux do not, or not well.
#[cfg(target_os = "linux")]
fn confine(file: &File) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::ROOM_GIB;

    let room = (ROOM_GIB << 30).saturating_add(file.metadata()?.len().saturating_mul(2));
    for (resource, most) in [
        (Resource::As, room),
        (Resource::Stack, 8 << 20),
        // No core: with 0 there would be one where a program takes them.
        (Resource::Core, 1),
    ] {
        let Rlimit { current, maximum } = getrlimit(resource);
        let limit = Rlimit {
            current: Some(current.map_or(most, |set| set.min(most))),
            maximum,
        };
        setrlimit(resource, limit)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn confine(_: &File) -> io::Result<()> {
    Ok(())
}
