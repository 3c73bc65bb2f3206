//! One writer: the lock file that says who has the database open.
//!
//! The lock is the kernel's (it goes with the process that held it, however that ended); the text in the file is
//! only there to tell the next one whom to ask.

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::StorageError;

/// Name of the lock file in the database directory.
pub(crate) const LOCK_FILE: &str = "LOCK";
/// Longest text for the holder's command.
const COMMAND_CHARS_MAX: usize = 80;

/// Held as long as the database is open.
#[derive(Debug)]
pub struct Lock {
    _held: Box<dyn Debug + Send + Sync>,
}

impl Lock {
    /// A lock that is held as long as `held` lives.
    pub(crate) fn holding(held: impl Debug + Send + Sync + 'static) -> Lock {
        Lock { _held: Box::new(held) }
    }

    /// Takes the lock of the database in `dir`, which exists.
    pub(crate) fn take(dir: &Path) -> Result<Lock, StorageError> {
        let path = dir.join(LOCK_FILE);
        let failed = |action, source| StorageError::io(&path, action, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| failed("open", e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StorageError::Locked { path: dir.to_path_buf(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock", source)),
        }
        // The text is a courtesy: a full disk must not keep anyone from opening and reading.
        let _ = write_holder(&mut file);
        Ok(Lock::holding(file))
    }
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "pid {} ({}) on {}", std::process::id(), command(), host())
}

/// The program and its first word, such as `fromagerie serve`; no more of it, since what follows may be a secret.
fn command() -> String {
    let mut arguments = std::env::args_os();
    let program = arguments.next().map(PathBuf::from);
    let program = program.as_deref().and_then(Path::file_name).unwrap_or("unknown program".as_ref());
    let mut command = program.to_string_lossy().into_owned();
    if let Some(word) = arguments.next().and_then(|word| word.into_string().ok())
        && !word.starts_with('-')
        && !word.contains('=')
    {
        command = format!("{command} {}", Path::new(&word).file_name().unwrap_or_default().to_string_lossy());
    }
    command.chars().filter(|c| !c.is_control()).take(COMMAND_CHARS_MAX).collect()
}

/// Who holds the lock, and since when: the file was written when it was taken.
fn holder(file: &mut File) -> String {
    let taken = file.metadata().and_then(|m| m.modified()).ok();
    let mut text = String::new();
    // A holder that is just starting has not written its line yet.
    match file.take(256).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => {
            let held = taken.map(|taken| format!(" since {}{}", utc(taken), ago(taken)));
            format!("{}{}", text.trim(), held.unwrap_or_default())
        }
        _ => "a process that has not said who it is".to_owned(),
    }
}

/// How long ago it was, in brackets; nothing when the clock was set back.
fn ago(taken: SystemTime) -> String {
    taken.elapsed().map(|held| format!(" ({})", span(held.as_secs()))).unwrap_or_default()
}

/// A moment as `2026-11-21 21:30:05 UTC`.
fn utc(moment: SystemTime) -> String {
    let seconds = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of the `days`-th day after 1 January 1970, in the Gregorian calendar: years are counted from
/// March, so that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * from_march + 2) / 5 + 1, (from_march + 2) % 12 + 1);
    (days / 146_097 * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// A length of time, as people say it.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_are_told_as_calendars_do() {
        let cases = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_795_296_605, "2026-11-21 21:30:05 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ];
        for (seconds, text) in cases {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
