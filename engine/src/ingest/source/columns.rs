//! What the columns of a table mean, whatever the table is written in.
//!
//! A record needs a picture or a vector; a key and a caption are taken when they are there; every further column goes
//! to the payload under its own name. Which column is which is told by its name, unless the caller says.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Body, Failure, Found, Place, SourceError, SourceOptions, is_url, numbered};

/// Names of columns, given by the caller. Case is not looked at; a number counts columns from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Columns {
    /// The picture: its bytes, its path, or its address.
    pub image: Option<String>,
    /// The caption.
    pub caption: Option<String>,
    /// The key.
    pub key: Option<String>,
    /// The vector.
    pub vector: Option<String>,
}

/// Names that mean a role when the caller gives none, the likeliest first.
const IMAGE: [&str; 16] = [
    "image",
    "image_bytes",
    "bytes",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "path",
    "image_path",
    "filepath",
    "file",
    "file_name",
    "filename",
    "paths",
    "url",
    "image_url",
];
const CAPTION: [&str; 5] = ["caption", "text", "captions", "alt", "title"];
const KEY: [&str; 3] = ["key", "__key__", "id"];
const VECTOR: [&str; 4] = ["vector", "embedding", "embeddings", "img_emb"];
const URI: [&str; 3] = ["url", "uri", "image_url"];

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "texts hold neither bytes nor vectors"))]
pub(super) enum Cell {
    Empty,
    Text(String),
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
    Other(Value),
}

impl Cell {
    /// What JSON says.
    pub(super) fn of_json(value: Value) -> Cell {
        match value {
            Value::Null => Cell::Empty,
            Value::String(text) => Cell::Text(text),
            other => Cell::Other(other),
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            Cell::Text(text) if !text.is_empty() => Some(text.clone()),
            Cell::Other(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string()),
            _ => None,
        }
    }

    /// What the payload keeps of it. Bytes have no place in JSON.
    pub(super) fn json(self) -> Option<Value> {
        match self {
            Cell::Empty | Cell::Bytes(_) => None,
            Cell::Text(text) => Some(Value::String(text)),
            Cell::Floats(values) => Some(Value::from(values)),
            Cell::Other(value) => Some(value),
        }
    }
}

/// Which column has which part.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Roles {
    pub(super) image: Option<usize>,
    pub(super) caption: Option<usize>,
    pub(super) key: Option<usize>,
    pub(super) vector: Option<usize>,
    uri: Option<usize>,
}

impl Roles {
    /// The parts of columns with these names.
    ///
    /// # Errors
    /// A column that the caller named is not there, or none holds a picture or a vector.
    pub(super) fn of<S: AsRef<str>>(names: &[S], columns: &Columns, path: &Path) -> Result<Roles, SourceError> {
        let known = |candidates: &[&str]| {
            candidates.iter().find_map(|name| names.iter().position(|n| n.as_ref().trim().eq_ignore_ascii_case(name)))
        };
        let missing = |wanted: String| SourceError::NoColumn {
            path: path.to_owned(),
            wanted,
            columns: names.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", "),
        };
        let role = |given: &Option<String>, candidates: &[&str], option: &str| match given {
            None => Ok(known(candidates)),
            Some(name) => match known(&[name]).or_else(|| by_number(name, names.len())) {
                Some(at) => Ok(Some(at)),
                None => Err(missing(format!("column {name:?} ({option})"))),
            },
        };
        let mut image = role(&columns.image, &IMAGE, "--image-column")?;
        let mut vector = role(&columns.vector, &VECTOR, "--vector-column")?;
        if columns.image.is_some() && columns.vector.is_none() {
            vector = None;
        }
        if vector.is_none() && image.is_none() {
            return Err(missing(
                "column of pictures or vectors (name it with --image-column or --vector-column)".into(),
            ));
        }
        let uri = known(&URI).filter(|at| vector.is_some() || Some(*at) != image);
        if vector.is_some() && image == uri {
            image = None;
        }
        Ok(Roles {
            image,
            vector,
            uri,
            caption: role(&columns.caption, &CAPTION, "--caption-column")?,
            key: role(&columns.key, &KEY, "--key-column")?,
        })
    }

    /// True when names like these stand above a table.
    pub(super) fn are_names<S: AsRef<str>>(names: &[S]) -> bool {
        let is = |candidates: &[&str]| {
            names.iter().any(|name| candidates.iter().any(|c| name.as_ref().trim().eq_ignore_ascii_case(c)))
        };
        is(&IMAGE) || is(&VECTOR)
    }

    /// The record of a row whose cells stand in the order of the names.
    pub(super) fn record<S: AsRef<str>>(
        &self,
        names: &[S],
        mut cells: Vec<Cell>,
        place: Place,
        row: u64,
        context: &Context,
    ) -> Result<Found, Failure> {
        let mut take = |at: Option<usize>| match at.and_then(|at| cells.get_mut(at)) {
            Some(cell) => std::mem::replace(cell, Cell::Empty),
            None => Cell::Empty,
        };
        let (vector, image, uri) = (take(self.vector), take(self.image), take(self.uri));
        let (key, caption) = (take(self.key), take(self.caption));
        let key = key.text().or_else(|| image.text().filter(|text| text.len() <= 512));
        let key = key.unwrap_or_else(|| numbered(&context.path, row));
        let failed = |place: &Place, error| Failure::read(Some(key.clone()), place.clone(), error);
        let mut uri = uri.text().unwrap_or_default();
        let body = if self.vector.is_some() {
            if let (true, Some(path)) = (uri.is_empty(), image.text()) {
                uri = path;
            }
            vector_of(vector).map_err(|error| failed(&place, error))?
        } else {
            let (body, from) = context.picture_of(image).map_err(|error| failed(&place, error))?;
            if uri.is_empty() {
                uri = from.unwrap_or_else(|| place.to_string());
            }
            body
        };
        let mut payload = Map::new();
        for (name, cell) in names.iter().zip(cells) {
            if let Some(value) = cell.json() {
                payload.insert(name.as_ref().to_owned(), value);
            }
        }
        Ok(Found { key, body, caption: caption.text().unwrap_or_default(), uri, payload, place, content_hash: None })
    }
}

/// What the rows of one table share.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// The table.
    pub(super) path: PathBuf,
    /// Where its pictures are.
    root: PathBuf,
}

impl Context {
    pub(super) fn new(path: &Path, options: &SourceOptions) -> Context {
        let beside = || path.parent().unwrap_or(Path::new("")).to_owned();
        Context { path: path.to_owned(), root: options.image_root.clone().unwrap_or_else(beside) }
    }

    /// The picture that a cell holds or names, and the address or path it is at.
    fn picture_of(&self, cell: Cell) -> Result<(Body, Option<String>), SourceError> {
        match cell {
            Cell::Bytes(bytes) => Ok((Body::Bytes(bytes), None)),
            Cell::Text(text) if is_url(&text) => Ok((Body::Url(text.clone()), Some(text))),
            Cell::Text(text) if !text.is_empty() => {
                let path = self.within_root(&text)?;
                let uri = path.to_string_lossy().into_owned();
                Ok((Body::File(path), Some(uri)))
            }
            Cell::Text(_) | Cell::Empty => Err(SourceError::NoPicture { problem: "its column is empty".into() }),
            Cell::Floats(_) | Cell::Other(_) => Err(SourceError::NoPicture {
                problem: "its column holds neither bytes nor a path nor an address".into(),
            }),
        }
    }

    /// `text` as a path below the root, which it may name itself.
    fn within_root(&self, text: &str) -> Result<PathBuf, SourceError> {
        let outside = || SourceError::OutsideRoot { path: text.to_owned(), root: self.root.clone() };
        let path = Path::new(text);
        let below = if path.is_absolute() { path.strip_prefix(&self.root).map_err(|_| outside())? } else { path };
        let plain = below.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if plain { Ok(self.root.join(below)) } else { Err(outside()) }
    }
}

/// A column by its number, from 1.
fn by_number(name: &str, columns: usize) -> Option<usize> {
    name.parse::<usize>().ok().filter(|number| (1..=columns).contains(number)).map(|number| number - 1)
}

fn vector_of(cell: Cell) -> Result<Body, SourceError> {
    let array = match cell {
        Cell::Floats(values) => return Ok(Body::Vector(values)),
        Cell::Other(Value::Array(array)) => array,
        Cell::Text(text) => match serde_json::from_str(&text) {
            Ok(Value::Array(array)) => array,
            _ => return Err(SourceError::damaged("its vector is a text that is no JSON array of numbers")),
        },
        _ => return Err(SourceError::damaged("its vector is missing or no list of numbers")),
    };
    let values = array.iter().map(|value| value.as_f64().map(|value| value as f32)).collect::<Option<_>>();
    values.map(Body::Vector).ok_or_else(|| SourceError::damaged("its vector holds something that is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(names: &[&str], columns: &Columns) -> Result<Roles, SourceError> {
        Roles::of(names, columns, Path::new("t.csv"))
    }

    #[test]
    fn parts_are_told_by_name_unless_the_caller_says() {
        let plain = roles(&["URL", "TEXT", "width"], &Columns::default()).unwrap();
        assert_eq!((plain.image, plain.caption, plain.key, plain.uri), (Some(0), Some(1), None, None));
        let both = roles(&["key", "jpg", "url", "caption"], &Columns::default()).unwrap();
        assert_eq!((both.image, both.uri, both.key), (Some(1), Some(2), Some(0)));
        let given = Columns { image: Some("Foto".into()), caption: Some("3".into()), ..Columns::default() };
        let given = roles(&["vector", "foto", "x"], &given).unwrap();
        assert_eq!((given.image, given.caption, given.vector), (Some(1), Some(2), None));
        let missing = roles(&["a", "b"], &Columns::default()).unwrap_err().to_string();
        assert!(missing.contains("--image-column") && missing.contains("a, b"), "{missing}");
        let wrong = Columns { key: Some("no".into()), ..Columns::default() };
        assert!(roles(&["image"], &wrong).unwrap_err().to_string().contains("\"no\" (--key-column)"));
    }

    #[test]
    fn paths_stay_below_their_root() {
        let context = |root: &str| Context { path: "data/t.csv".into(), root: root.into() };
        assert_eq!(context("data").within_root("a/b.png").unwrap(), Path::new("data/a/b.png"));
        assert_eq!(context("/p").within_root("/p/a.png").unwrap(), Path::new("/p/a.png"));
        assert_eq!(context("/").within_root("/etc/a.png").unwrap(), Path::new("/etc/a.png"));
        for path in ["../a.png", "a/../../b.png", "/etc/passwd"] {
            assert!(matches!(context("data").within_root(path), Err(SourceError::OutsideRoot { .. })), "{path}");
        }
    }

    #[test]
    fn further_columns_are_the_payload() {
        let names = ["vector", "id", "size", "blob", "nothing"];
        let cells = vec![
            Cell::Text("[1, 2.5]".into()),
            Cell::Other(7.into()),
            Cell::Other(3.into()),
            Cell::Bytes(vec![1]),
            Cell::Empty,
        ];
        let context = Context { path: "t.csv".into(), root: "".into() };
        let roles = roles(&names, &Columns::default()).unwrap();
        let found = roles.record(&names, cells, Place::row(&context.path, 0), 0, &context).unwrap();
        assert_eq!((found.key.as_str(), found.body), ("7", Body::Vector(vec![1.0, 2.5])));
        assert_eq!(Value::Object(found.payload), serde_json::json!({"size": 3}));
    }
}
