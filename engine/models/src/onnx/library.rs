//! Where libonnxruntime lies, and whether it may be loaded.
//!
//! Looked for, in this order: the path in the options; `ORT_DYLIB_PATH`; the folder of the executable; the folder
//! `.cache/onnxruntime` of the working directory and its parents, and of the executable's folder and its parents, so that
//! a checkout of the repository works after `make setup`. The first two are orders: what they name is used or the load
//! fails. In folders, whatever is damaged is passed over for the next, and named if nothing else is found.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fmt;
use std::path::{Path, PathBuf};

use super::device::Device;
use super::elf;

/// The environment variable that names the library, as everywhere in the world of `ort`.
pub(super) const VARIABLE: &str = "ORT_DYLIB_PATH";
/// The oldest ONNX Runtime that is accepted.
pub(super) const OLDEST: (u32, u32) = (1, 24);

const REMEDY: &str =
    "Run `make setup`, which fetches it, or set ORT_DYLIB_PATH to a libonnxruntime of version 1.24 or later";

/// Why ONNX Runtime is not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// No library was found, or none that works.
    #[error("ONNX Runtime was not found.{} {REMEDY}.", Tried(attempts))]
    NotFound {
        /// Each place looked at, in order.
        attempts: Vec<Attempt>,
    },
    /// The library that was named cannot be used.
    #[error("ONNX Runtime at {} (named by {named_by}) cannot be used: {why}. {REMEDY}.", path.display())]
    Unusable {
        /// The library.
        path: PathBuf,
        /// Who named it: the options or the environment.
        named_by: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Another library is loaded already, and a process can load only one.
    #[error("ONNX Runtime is loaded from {} already; it cannot be loaded from {} too in one process", loaded.display(), asked.display())]
    AlreadyLoaded {
        /// The library in use.
        loaded: PathBuf,
        /// The library asked for.
        asked: PathBuf,
    },
    /// The library is loaded and does not start.
    #[error("ONNX Runtime at {} does not start: {why}", path.display())]
    Start {
        /// The library.
        path: PathBuf,
        /// Its words.
        why: String,
    },
    /// A GPU was asked for, and this program was built without GPU support.
    #[error(
        "{device} was asked for, and this program was built without it: build with `--features cuda` or use the device cpu"
    )]
    DeviceNotBuilt {
        /// The device asked for.
        device: Device,
    },
}

/// A place where the library was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The file, or the folder when nothing in it is named like the library.
    pub path: PathBuf,
    /// Why it was passed over.
    pub why: String,
}

struct Tried<'a>(&'a [Attempt]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|attempt| write!(f, "\n  {}: {}", attempt.path.display(), attempt.why))?;
        if self.0.is_empty() { Ok(()) } else { f.write_str("\n") }
    }
}

/// Where to look.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) option: Option<PathBuf>,
    pub(super) variable: Option<PathBuf>,
    pub(super) folders: Vec<PathBuf>,
}

impl Places {
    /// Those of this process.
    pub(super) fn of_process(option: Option<PathBuf>) -> Self {
        let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf));
        let mut folders: Vec<PathBuf> = beside.iter().cloned().collect();
        for start in std::env::current_dir().ok().iter().chain(&beside) {
            for parent in start.ancestors() {
                let cache = parent.join(".cache").join("onnxruntime");
                if !folders.contains(&cache) {
                    folders.push(cache);
                }
            }
        }
        Self { option, variable, folders }
    }
}

/// Hands the first library that looks whole to `load`, and the next when it does not load.
///
/// `load` gets the path and the version the file is marked with, and says why the library cannot be loaded.
///
/// # Errors
/// [`LibraryError::Unusable`] or [`LibraryError::NotFound`].
pub(super) fn find<T>(
    places: &Places,
    mut load: impl FnMut(&Path, Option<String>) -> Result<T, String>,
) -> Result<T, LibraryError> {
    let named = [(&places.option, "the options"), (&places.variable, VARIABLE)];
    if let Some((path, named_by)) = named.into_iter().find_map(|(path, by)| Some((path.as_ref()?, by))) {
        return attempt(path, &mut load).map_err(|why| LibraryError::Unusable { path: path.clone(), named_by, why });
    }
    let mut attempts = Vec::new();
    for folder in &places.folders {
        let candidates = candidates(folder);
        if candidates.is_empty() {
            let why = format!("no {DLL_PREFIX}onnxruntime{DLL_SUFFIX} here");
            attempts.push(Attempt { path: folder.clone(), why });
        }
        for path in candidates {
            match attempt(&path, &mut load) {
                Ok(loaded) => return Ok(loaded),
                Err(why) => attempts.push(Attempt { path, why }),
            }
        }
    }
    Err(LibraryError::NotFound { attempts })
}

fn attempt<T>(path: &Path, load: &mut impl FnMut(&Path, Option<String>) -> Result<T, String>) -> Result<T, String> {
    if !path.exists() {
        return Err("there is no such file".into());
    }
    let version = if cfg!(target_os = "linux") { elf::inspect(path)? } else { None };
    let version = version.or_else(|| version_in_name(path));
    if let Some(version) = &version
        && !recent_enough(version)
    {
        return Err(format!("its version is {version}, and {}.{} is the oldest that works", OLDEST.0, OLDEST.1));
    }
    load(path, version)
}

/// Files in `folder` named like the library, the newest version first.
fn candidates(folder: &Path) -> Vec<PathBuf> {
    let stem = format!("{DLL_PREFIX}onnxruntime");
    let is_library = |name: &str| {
        let rest = name.strip_prefix(&stem)?;
        // libonnxruntime.so, libonnxruntime.so.1.31.1, libonnxruntime.1.31.1.dylib; not libonnxruntime_providers_shared.so
        let fits = rest == DLL_SUFFIX
            || rest.starts_with(&format!("{DLL_SUFFIX}."))
            || (rest.starts_with('.') && rest.ends_with(DLL_SUFFIX));
        fits.then_some(())
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().and_then(is_library).is_some())
        .map(|entry| entry.path())
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse((version_in_name(path).map(|v| numbers(&v)), path.clone())));
    found
}

fn version_in_name(path: &Path) -> Option<String> {
    let name = std::fs::canonicalize(path).ok()?.file_name()?.to_str()?.to_owned();
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let version = digits.trim_end_matches(|c: char| !c.is_ascii_digit());
    version.contains('.').then(|| version.to_owned())
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

fn recent_enough(version: &str) -> bool {
    let numbers = numbers(version);
    (numbers.first().copied().unwrap_or(0), numbers.get(1).copied().unwrap_or(0)) >= OLDEST
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn accept(path: &Path, version: Option<String>) -> Result<(PathBuf, Option<String>), String> {
        Ok((path.to_path_buf(), version))
    }

    /// A file that is a whole shared object: this test program.
    fn place(folder: &Path, name: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::copy(std::env::current_exe().unwrap(), folder.join(name)).unwrap();
        folder.join(name)
    }

    #[test]
    fn the_options_come_first_then_the_variable_then_folders_with_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let old = place(dir.path(), "libonnxruntime.so.1.24.2");
        let new = place(dir.path(), "libonnxruntime.so.1.31.1");
        place(dir.path(), "libonnxruntime_providers_shared.so");
        let mut places =
            Places { option: None, variable: None, folders: vec!["/nonexistent".into(), dir.path().into()] };
        assert_eq!(find(&places, accept).unwrap(), (new.clone(), Some("1.31.1".into())));
        places.variable = Some(old.clone());
        assert_eq!(find(&places, accept).unwrap().0, old);
        places.option = Some(new.clone());
        assert_eq!(find(&places, accept).unwrap().0, new);
    }

    #[test]
    fn what_is_named_is_used_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        place(dir.path(), "libonnxruntime.so.1.31.1");
        let missing = dir.path().join("nowhere.so");
        let places = Places { variable: Some(missing.clone()), folders: vec![dir.path().into()], ..Places::default() };
        let error = find(&places, accept).unwrap_err();
        assert!(matches!(&error, LibraryError::Unusable { path, named_by: VARIABLE, .. } if *path == missing));
        let text = error.to_string();
        assert!(text.contains("nowhere.so") && text.contains("no such file") && text.contains("make setup"), "{text}");
    }

    #[test]
    fn a_damaged_library_in_a_folder_is_passed_over_and_named_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        let damaged = place(&first, "libonnxruntime.so.1.31.1");
        let whole = std::fs::metadata(&damaged).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&damaged).unwrap().set_len(whole / 2).unwrap();
        let good = place(&second, "libonnxruntime.so");
        let places = Places { folders: vec![first.clone(), second], ..Places::default() };
        assert_eq!(find(&places, accept).unwrap().0, good);

        let places = Places { folders: vec![first, dir.path().join("c")], ..Places::default() };
        let text = find(&places, accept).unwrap_err().to_string();
        for part in ["a/libonnxruntime.so.1.31.1: cut off", "/c: no libonnxruntime.so here", "make setup"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn an_old_version_is_refused_before_it_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let old = place(dir.path(), "libonnxruntime.so.1.19.2");
        let places = Places { option: Some(old), ..Places::default() };
        let text = find(&places, |_, _| -> Result<(), String> { panic!("loaded") }).unwrap_err().to_string();
        assert!(text.contains("1.19.2") && text.contains("1.24"), "{text}");
    }

    #[test]
    fn a_checkout_is_found_from_below() {
        let places = Places::of_process(None);
        let here = std::env::current_dir().unwrap();
        for parent in here.ancestors() {
            assert!(places.folders.contains(&parent.join(".cache/onnxruntime")));
        }
        assert_eq!(places.folders[0], std::env::current_exe().unwrap().parent().unwrap());
    }
}
