//! Where messages are kept: a file each, whole or not at all, and the newest of them only.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A directory of messages. Its calls wait for the disk: not for a runtime's own threads.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    kept: Mutex<Kept>,
    /// Messages that were begun.
    written: AtomicU64,
}

/// Which orders have a message here, and in which turn they came.
#[derive(Debug, Default)]
struct Kept {
    /// None until the directory was looked at.
    is_known: bool,
    next: u64,
    by_turn: BTreeMap<u64, i64>,
    turns: HashMap<i64, u64>,
}

impl Kept {
    /// A message of this order has come now.
    fn add(&mut self, order_id: i64) {
        if let Some(turn) = self.turns.insert(order_id, self.next) {
            self.by_turn.remove(&turn);
        }
        self.by_turn.insert(self.next, order_id);
        self.next += 1;
    }

    /// Those that are too many, the oldest first.
    fn beyond(&mut self, keep: usize) -> Vec<i64> {
        let mut gone = Vec::new();
        while self.by_turn.len() > keep {
            let Some((_, order_id)) = self.by_turn.pop_first() else {
                break;
            };
            self.turns.remove(&order_id);
            gone.push(order_id);
        }
        gone
    }
}

impl Spool {
    /// The messages in `directory`, which need not be there yet.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            kept: Mutex::default(),
            written: AtomicU64::new(0),
        }
    }

    /// Keeps an order's message, in place of the one it may have here, and removes the oldest beyond `keep`. It is on the
    /// disk when this returns.
    ///
    /// # Errors
    /// The file system's; then the message is not there, or not safely.
    pub fn put(&self, order_id: i64, message: &[u8], keep: usize) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        self.look()?;
        // One delivery at a time has an order, apart from a claim that ran out: each has a file of its own, and whoever is last renames a whole one.
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = self
            .directory
            .join(format!(".{}.{number}", file_name(order_id)));
        let written = write_whole(&temporary, message)
            .and_then(|()| fs::rename(&temporary, self.directory.join(file_name(order_id))))
            .and_then(|()| File::open(&self.directory)?.sync_all());
        if let Err(error) = written {
            // What is left of it is removed when the next process begins, if not now.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        let gone = {
            let mut kept = self.kept();
            kept.add(order_id);
            kept.beyond(keep)
        };
        for order_id in gone {
            remove(&self.directory.join(file_name(order_id)))?;
        }
        Ok(())
    }

    /// Finds what an earlier process has left here, once.
    fn look(&self) -> io::Result<()> {
        let mut kept = self.kept();
        if kept.is_known {
            return Ok(());
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with('.') {
                // Begun by a process that has ended.
                remove(&entry.path())?;
            } else if let Some(order_id) = order_of(name) {
                found.push((entry.metadata()?.modified()?, order_id));
            }
        }
        found.sort_unstable();
        for (_, order_id) in found {
            kept.add(order_id);
        }
        kept.is_known = true;
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file_name(order_id: i64) -> String {
    format!("order-{order_id}.eml")
}

fn order_of(name: &str) -> Option<i64> {
    name.strip_prefix("order-")?
        .strip_suffix(".eml")?
        .parse()
        .ok()
}

fn write_whole(path: &Path, message: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(message)?;
    file.sync_all()
}

/// What somebody else has removed already is gone as well.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_are_kept_also_of_an_earlier_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spool");
        let spool = Spool::new(path.clone());
        for order_id in 1..=4 {
            spool.put(order_id, b"first", 3).unwrap();
        }
        assert_eq!(names(&path), ["order-2.eml", "order-3.eml", "order-4.eml"]);
        spool.put(2, b"again", 3).unwrap();
        assert_eq!(fs::read(path.join("order-2.eml")).unwrap(), b"again");
        spool.put(5, b"first", 3).unwrap();
        assert_eq!(
            names(&path),
            ["order-2.eml", "order-4.eml", "order-5.eml"],
            "2 has come again after 3"
        );

        fs::write(path.join(".order-9.eml"), "half").unwrap();
        fs::write(path.join("README"), "somebody's").unwrap();
        let later = Spool::new(path.clone());
        later.put(6, b"first", 1).unwrap();
        assert_eq!(names(&path), ["README", "order-6.eml"]);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_until_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spool");
        fs::write(&path, "in the way").unwrap();
        let spool = Spool::new(path.clone());
        spool.put(1, b"text", 10).unwrap_err();
        fs::remove_file(&path).unwrap();
        spool.put(1, b"text", 10).unwrap();
        assert_eq!(names(&path), ["order-1.eml"]);
    }
}
