//! Captions beside pictures: a TSV for a folder, or a text file for a picture.
//!
//! The TSV has one picture a line: the file's path within the source, a tab, the caption. A first line that names
//! the columns (`file` or `image`, and `caption`) may put them in any order, as the reference's own files do.

use std::collections::HashMap;
use std::path::Path;

use super::CAPTION_BYTES_MAX;
use crate::error::{Error, Result};

/// The name that is looked for at the top of a source.
const DEFAULT_NAME: &str = "captions.tsv";

/// Captions by key.
#[derive(Default)]
pub(super) struct Captions(HashMap<String, String>);

impl Captions {
    /// From `given`, or from the source's own file when there is one.
    pub(super) fn for_source(source: &Path, given: Option<&Path>) -> Result<Captions> {
        let own = source.join(DEFAULT_NAME);
        match given {
            Some(path) => Captions::read(path),
            None if own.is_file() => Captions::read(&own),
            None => Ok(Captions::default()),
        }
    }

    pub(super) fn of(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn read(path: &Path) -> Result<Captions> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        Captions::parse(&text).map_err(|(line, problem)| Error::BadCaptions { path: path.to_owned(), line, problem })
    }

    fn parse(text: &str) -> Result<Captions, (usize, &'static str)> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).peekable();
        let (mut file_at, mut caption_at) = (0, 1);
        if let Some((_, first)) = lines.peek() {
            let names: Vec<_> = first.split('\t').map(|name| name.trim().to_ascii_lowercase()).collect();
            let file = names.iter().position(|name| name == "file" || name == "image");
            if let (Some(file), Some(caption)) = (file, names.iter().position(|name| name == "caption")) {
                (file_at, caption_at) = (file, caption);
                lines.next();
            }
        }
        let mut captions = HashMap::new();
        for (number, line) in lines {
            let columns: Vec<_> = line.split('\t').collect();
            match (columns.get(file_at), columns.get(caption_at)) {
                (Some(file), Some(caption)) => captions.insert(file.trim().to_owned(), caption.trim().to_owned()),
                _ => return Err((number + 1, "it has no tab between a file and its caption")),
            };
        }
        Ok(Captions(captions))
    }
}

/// The text file of the same name beside a picture; empty when there is none.
pub(super) fn sidecar(picture: &Path) -> Result<String> {
    let path = picture.with_extension("txt");
    let file = |source| Error::File { path: path.clone(), source };
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= CAPTION_BYTES_MAX => {
            Ok(std::fs::read_to_string(&path).map_err(file)?.trim().to_owned())
        }
        _ => Ok(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_file_and_caption_unless_the_first_line_says_otherwise() {
        let plain = Captions::parse("a.png\ta cat\n\nb/c.png\ta dog\textra\n").ok().unwrap();
        assert_eq!((plain.of("a.png"), plain.of("b/c.png"), plain.of("x")), (Some("a cat"), Some("a dog"), None));
        let named = Captions::parse("caption\timage\na cat\ta.png\n").ok().unwrap();
        assert_eq!(named.of("a.png"), Some("a cat"));
    }

    #[test]
    fn a_line_without_a_tab_is_named() {
        assert_eq!(Captions::parse("a.png\tcat\nb.png dog\n").err().map(|e| e.0), Some(2));
    }
}
