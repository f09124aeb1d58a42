//! The disk below a file that is being made under another name, as `backup.rs` and `fresh.rs` do: the file itself, and in tests one that
//! fails when it is told to.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::disk::{Disk, FileDisk};

/// The disk that a draft is written to.
pub(super) fn disk(file: FileDisk) -> Arc<dyn Disk> {
    #[cfg(test)]
    if let Some(fault) = failing::armed() {
        return Arc::new(failing::Failing::of(file, fault));
    }
    Arc::new(file)
}

/// Returns once the bytes of a draft, and what is said of them, are on the disk.
pub(super) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    if let Some(fault) = failing::armed() {
        fault.check(failing::What::Syncs)?;
    }
    file.sync_all()
}

/// Drafts of which one operation fails, or all from one on.
#[cfg(test)]
pub(super) mod failing {
    use std::cell::RefCell;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::super::disk::{Disk, FileDisk};

    thread_local! {
        static ARMED: RefCell<Option<Arc<Fault>>> = const { RefCell::new(None) };
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in super::super) enum What {
        Writes,
        Syncs,
        Resizes,
    }

    /// The `nth` of these operations, from 0, fails, and all after it if it `lasts`.
    #[derive(Debug)]
    pub(in super::super) struct Fault {
        pub(in super::super) what: What,
        pub(in super::super) nth: usize,
        pub(in super::super) lasts: bool,
        met: AtomicUsize,
    }

    impl Fault {
        pub(in super::super) fn new(what: What, nth: usize, lasts: bool) -> Arc<Self> {
            Arc::new(Self {
                what,
                nth,
                lasts,
                met: AtomicUsize::new(0),
            })
        }

        pub(super) fn check(&self, what: What) -> io::Result<()> {
            if what != self.what {
                return Ok(());
            }
            let number = self.met.fetch_add(1, SeqCst);
            match number == self.nth || self.lasts && number > self.nth {
                true => Err(io::Error::other("this draft is made to fail")),
                false => Ok(()),
            }
        }

        /// Whether anything failed.
        pub(in super::super) fn has_failed(&self) -> bool {
            self.met.load(SeqCst) > self.nth
        }

        /// Does something of which the drafts that this thread begins fail.
        pub(in super::super) fn during<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
            ARMED.set(Some(Arc::clone(self)));
            let done = work();
            ARMED.set(None);
            done
        }
    }

    pub(super) fn armed() -> Option<Arc<Fault>> {
        ARMED.with_borrow(Clone::clone)
    }

    #[derive(Debug)]
    pub(super) struct Failing {
        file: FileDisk,
        fault: Arc<Fault>,
    }

    impl Failing {
        pub(super) fn of(file: FileDisk, fault: Arc<Fault>) -> Self {
            Self { file, fault }
        }

        /// A write that fails leaves its first half there.
        fn check_write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.fault.check(What::Writes).inspect_err(|_| {
                let _ = self.file.write(offset, &bytes[..bytes.len() / 2]);
            })
        }
    }

    impl Disk for Failing {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }

        fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.check_write(offset, bytes)?;
            self.file.write(offset, bytes)
        }

        fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.check_write(offset, bytes)?;
            self.file.write_durable(offset, bytes)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.fault.check(What::Resizes)?;
            self.file.set_len(len)
        }

        fn sync(&self) -> io::Result<()> {
            self.fault.check(What::Syncs)?;
            self.file.sync()
        }

        fn below(&self) -> Option<&dyn Disk> {
            Some(&self.file)
        }
    }
}
