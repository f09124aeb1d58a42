//! [`Pausing`]: a pipe or a terminal, whose input may pause for any time.
//!
//! While it does, what has come is to be seen to, and Ctrl-C is to end the reading: both happen within a read, so that
//! whoever splits the input, in whatever state, need not know of it.

use std::cell::RefCell;
use std::io::{self, Read};
use std::rc::Rc;

#[cfg(unix)]
use std::os::fd::AsFd;
#[cfg(unix)]
use std::time::{Duration, Instant};

#[cfg(unix)]
use crate::interrupt;

/// How often Ctrl-C is looked for.
#[cfg(unix)]
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How many such looks without input are a pause.
#[cfg(unix)]
const PAUSE_LOOKS: u32 = 3;
/// How long input that never pauses for so long may be waited for again and again: what comes slowly is seen to, too.
#[cfg(unix)]
const SLOW: Duration = Duration::from_secs(5);

/// What is done when input pauses, once in each pause, and now and then while it comes slowly. When it fails, so does the read.
#[derive(Clone, Default)]
pub(super) struct OnPause(Rc<RefCell<Option<Work>>>);

type Work = Box<dyn FnMut() -> io::Result<()>>;

impl OnPause {
    pub(super) fn set(&self, work: impl FnMut() -> io::Result<()> + 'static) {
        *self.0.borrow_mut() = Some(Box::new(work));
    }

    #[cfg(unix)]
    fn call(&self) -> io::Result<()> {
        match &mut *self.0.borrow_mut() {
            Some(work) => work(),
            None => Ok(()),
        }
    }
}

/// Reads what may pause. Elsewhere than on Unix it waits as any read does.
pub(super) struct Pausing<R> {
    reader: R,
    #[cfg_attr(not(unix), allow(dead_code))]
    on_pause: OnPause,
    /// When what had come was seen to last.
    #[cfg(unix)]
    seen_to: Instant,
}

impl<R> Pausing<R> {
    pub(super) fn new(reader: R, on_pause: OnPause) -> Self {
        Self {
            reader,
            on_pause,
            #[cfg(unix)]
            seen_to: Instant::now(),
        }
    }
}

#[cfg(unix)]
impl<R: Read + AsFd> Read for Pausing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.wait()?;
        self.reader.read(bytes)
    }
}

#[cfg(not(unix))]
impl<R: Read> Read for Pausing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.reader.read(bytes)
    }
}

#[cfg(unix)]
impl<R: AsFd> Pausing<R> {
    /// Waits until there is input, or its end.
    fn wait(&mut self) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        use rustix::io::Errno;

        let mut looks = 0_u32;
        loop {
            if interrupt::is_asked() {
                return Err(io::Error::other("it was interrupted"));
            }
            // At first it is only asked whether there is any.
            let interval = match looks {
                0 => Duration::ZERO,
                _ => LOOK_INTERVAL,
            };
            let interval = Timespec::try_from(interval).map_err(io::Error::other)?;
            let mut seen = [PollFd::new(&self.reader, PollFlags::IN)];
            match poll(&mut seen, Some(&interval)) {
                Ok(0) => {
                    let is_slow = looks == 0 && self.seen_to.elapsed() >= SLOW;
                    if is_slow || looks == PAUSE_LOOKS {
                        self.on_pause.call()?;
                        self.seen_to = Instant::now();
                    }
                    looks = looks.saturating_add(1);
                }
                Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
