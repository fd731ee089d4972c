//! What the embedded store does about damage it did not foresee is to panic. This gives such a panic a name.
//!
//! A release build ends at a panic, so the words have to come from the hook that runs before; a build that unwinds
//! turns the panic into an error as well.

use std::cell::RefCell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use super::opening::FILE;
use crate::error::{REMEDY, StoreError};

/// Directories that were opened, for panics on the store's own threads, which do not say whose they are.
static OPENED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

thread_local! {
    /// The directory this thread is reading or writing.
    static INSIDE: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// Leaves the directory at the end of a scope.
struct Leave(Option<PathBuf>);

impl Drop for Leave {
    fn drop(&mut self) {
        INSIDE.set(self.0.take());
    }
}

/// Makes panics that come out of the store in a directory say so.
pub fn watch(directory: &Path) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            name(info);
            report(info);
        }));
    });
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if !opened.iter().any(|other| other == directory) {
        opened.push(directory.to_owned());
    }
}

/// The store in a directory is closed.
pub fn unwatch(directory: &Path) {
    OPENED.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| other != directory);
}

/// Does something with the store in a directory; a panic becomes an error where panics unwind.
pub fn named<R>(directory: &Path, act: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
    let before = INSIDE.replace(Some(directory.to_owned()));
    let _leave = Leave(before);
    // Whatever the panic left half done is not used again: its error ends the replica.
    let done = std::panic::catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why");
        Err(StoreError::corrupt(file_of(directory), format!("the store gave up on it: {said}")))
    });
    done.map_err(|error| error.within(&directory.join(FILE)))
}

fn file_of(directory: &Path) -> String {
    directory.join(FILE).display().to_string()
}

fn name(info: &PanicHookInfo<'_>) {
    let inside = INSIDE.with(|inside| inside.try_borrow().ok().and_then(|inside| inside.clone()));
    let of_store = std::thread::current().name().is_some_and(|name| name.starts_with("sled"));
    let directories = match inside {
        Some(directory) => vec![directory],
        None if of_store => OPENED.try_lock().map(|opened| opened.clone()).unwrap_or_default(),
        None => return,
    };
    let files: Vec<String> = directories.iter().map(|directory| file_of(directory)).collect();
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let file = files.join(" or ");
    if tracing::dispatcher::has_been_set() {
        tracing::error!(file, at, "corrupt data: the store gave up on it; {REMEDY}");
    } else {
        // A program that keeps no log has a standard error all the same.
        let _ =
            writeln!(std::io::stderr(), "corrupt data at {file}: the store gave up on it, at {at}; {REMEDY}");
    }
}
