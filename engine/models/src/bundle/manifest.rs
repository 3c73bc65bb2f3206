//! `fromagerie.json`: what the bundle is, and the digest of every file in it.
//!
//! Every number is checked against a range before anything is sized by it, unknown keys are refused (a misspelt key
//! is otherwise a silent default), and file names cannot leave the directory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fields::{ConfigError, exactly, in_range, wrong};
use super::{DECODER, EMBED_TOKENS, MANIFEST, REQUIRED};

/// Value of `format` in every manifest.
pub const FORMAT: &str = "fromagerie-bundle";
/// The one version of the format so far.
pub const VERSION: u32 = 1;
/// A decoder that reads pictures, and says when to show one.
pub const FROMAGE: &str = "fromage";
/// A text and a vision encoder in one space: its `[RET]` is the end of a text, and it speaks no word.
pub const CLIP: &str = "clip";
/// Architectures this version runs.
pub const ARCHITECTURES: [&str; 2] = [FROMAGE, CLIP];

const FILES_MAX: usize = 256;
const FILE_BYTES_MAX: u64 = 1 << 40;
const TEMPLATE_BYTES_MAX: usize = 64 << 10;

/// The contents of `fromagerie.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The model's name, for people.
    pub name: String,
    /// One of [`ARCHITECTURES`].
    pub architecture: String,
    /// Sizes of the decoder.
    pub language_model: LanguageModel,
    /// Sizes of the image encoder.
    pub vision: Vision,
    /// The retrieval space.
    pub retrieval: Retrieval,
    /// The language model's weights in several precisions, by name; absent: one, in the files' plain names.
    #[serde(default)]
    pub variants: BTreeMap<String, Variant>,
    /// The variant that is served when nobody chooses; with one variant or none it may be absent.
    #[serde(default)]
    pub default_variant: Option<String>,
    /// How a conversation is written; absent: plain text, a newline ends a turn.
    #[serde(default)]
    pub dialogue: Dialogue,
    /// Every file of the bundle but this one, by its path within the directory.
    pub files: BTreeMap<String, FileDigest>,
}

/// The graphs of the language model in one precision. All variants share the vision encoder, and so the retrieval space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Path of the decoder's graph.
    pub decoder: String,
    /// Path of the graph of the input embeddings.
    pub embed_tokens: String,
}

impl Default for Variant {
    fn default() -> Self {
        Self { decoder: DECODER.into(), embed_tokens: EMBED_TOKENS.into() }
    }
}

/// Sizes of the decoder, with Hugging Face's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageModel {
    /// Width of an input embedding.
    pub hidden_size: u32,
    /// Decoder layers; each leaves a key and a value in the cache.
    pub num_hidden_layers: u32,
    /// Heads of a cached key or value.
    pub num_key_value_heads: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Token ids end before this one.
    pub vocab_size: u32,
    /// The most positions the decoder was made for.
    pub max_position_embeddings: u32,
}

/// Sizes of the image encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vision {
    /// Rows which a picture takes in the prompt; 0 for a model that holds no dialogue.
    pub num_visual_tokens: u32,
    /// Width of the encoder's own output.
    pub feature_dim: u32,
    /// SHA-256 (64 hexadecimal digits) of the encoder without its maps, however the exporter draws it: bundles that
    /// say the same here make the same `features` of the same pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder_sha256: Option<String>,
}

/// The retrieval space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retrieval {
    /// Width of a retrieval embedding.
    pub dim: u32,
    /// The `[RET]` token, or tokens, at which a query is read.
    pub ret_token_ids: Vec<u32>,
    /// The sentence around a text that is searched for, before `[RET]`; `{}` stands for the text.
    #[serde(default = "bare_text")]
    pub text_template: String,
    /// What training multiplied cosines by. Scores here are plain cosines; the reference's are these times this.
    #[serde(default)]
    pub logit_scale: Option<f32>,
}

/// The text alone, as in the reference.
pub(crate) fn bare_text() -> String {
    "{}".to_owned()
}

/// How a conversation becomes one text. Templates are encoded with their special tokens; what users write is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialogue {
    /// Stands before the first turn.
    #[serde(default)]
    pub preamble: String,
    /// Stands before and after what the user says.
    pub user: [String; 2],
    /// Stands before and after what the model says.
    pub assistant: [String; 2],
    /// Share of the pictures just shown in a query, added to the query that the words make; 0 leaves words alone.
    #[serde(default)]
    pub image_context_weight: f32,
    /// What of a conversation the query of a reply is made from.
    #[serde(default)]
    pub query_context: QueryContext,
    /// How a picture's caption is asked for. Absent: by nothing, the picture alone is continued, as in FROMAGe.
    #[serde(default)]
    pub caption: Option<Captioning>,
}

/// The words that make a chat caption a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Captioning {
    /// What the user says after the picture.
    pub question: String,
    /// How the answer begins; the caption is what follows.
    #[serde(default)]
    pub opening: String,
}

/// What of a conversation the query of a reply is made from. The reply itself always reads all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryContext {
    /// All of it, as in the reference: for maps that were trained on long contexts.
    #[default]
    Conversation,
    /// The preamble, the user's last turn, and the reply up to `[RET]`: for maps that were trained on single exchanges,
    /// and models whose replies name what they show.
    Exchange,
}

impl Default for Dialogue {
    fn default() -> Self {
        let turn = || [String::new(), "\n".to_owned()];
        Self {
            preamble: String::new(),
            user: turn(),
            assistant: turn(),
            image_context_weight: 0.0,
            query_context: QueryContext::Conversation,
            caption: None,
        }
    }
}

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Length.
    pub bytes: u64,
}

impl Manifest {
    /// Parses and checks the JSON of a manifest.
    ///
    /// # Errors
    /// [`ConfigError`], naming the field.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let manifest: Self = serde_json::from_slice(json)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ConfigError> {
        exactly("format", self.format.as_str(), FORMAT)?;
        exactly("version", self.version, VERSION)?;
        check_name(&self.name)?;
        if !ARCHITECTURES.contains(&self.architecture.as_str()) {
            let known = ARCHITECTURES.to_vec();
            return Err(ConfigError::Architecture { found: self.architecture.chars().take(120).collect(), known });
        }
        self.check_sizes()?;
        self.check_ret()?;
        self.dialogue.check()?;
        check_files(&self.files)?;
        self.check_variants()
    }

    fn check_variants(&self) -> Result<(), ConfigError> {
        let names = || self.variants.keys().cloned().collect::<Vec<_>>().join(", ");
        match &self.default_variant {
            Some(name) if !self.variants.contains_key(name) => {
                return Err(wrong("default_variant", format_args!("{name:?}"), format_args!("one of: {}", names())));
            }
            None if self.variants.len() > 1 => {
                return Err(wrong("default_variant", "absent", format_args!("one of: {}", names())));
            }
            _ => {}
        }
        let plain = BTreeMap::from([(String::new(), Variant::default())]);
        for (name, variant) in if self.variants.is_empty() { &plain } else { &self.variants } {
            for path in [&variant.decoder, &variant.embed_tokens] {
                if !self.files.contains_key(path) {
                    let field = if name.is_empty() { "files".to_owned() } else { format!("variants.{name}") };
                    return Err(wrong(&field, "a list without it", format_args!("{path} to be listed")));
                }
            }
        }
        Ok(())
    }

    /// The variant of this name, or the default one.
    ///
    /// # Errors
    /// [`ConfigError::Variant`] for a name which the bundle has not.
    pub fn variant(&self, name: Option<&str>) -> Result<Variant, ConfigError> {
        let chosen = name.or(self.default_variant.as_deref());
        match chosen {
            None => Ok(self.variants.values().next().cloned().unwrap_or_default()),
            Some(name) => self.variants.get(name).cloned().ok_or_else(|| ConfigError::Variant {
                found: name.to_owned(),
                known: self.variants.keys().cloned().collect(),
            }),
        }
    }

    /// Whether it can hold a dialogue; else it searches alone.
    pub fn speaks(&self) -> bool {
        self.architecture == FROMAGE
    }

    fn check_sizes(&self) -> Result<(), ConfigError> {
        let lm = &self.language_model;
        in_range("language_model.hidden_size", lm.hidden_size, 1..=65_536)?;
        in_range("language_model.num_hidden_layers", lm.num_hidden_layers, 1..=1_024)?;
        in_range("language_model.num_key_value_heads", lm.num_key_value_heads, 1..=1_024)?;
        in_range("language_model.head_dim", lm.head_dim, 1..=4_096)?;
        in_range("language_model.vocab_size", lm.vocab_size, 2..=16_777_216)?;
        in_range("language_model.max_position_embeddings", lm.max_position_embeddings, 1..=16_777_216)?;
        let visual = if self.speaks() { 1..=4_096 } else { 0..=0 };
        in_range("vision.num_visual_tokens", self.vision.num_visual_tokens, visual)?;
        in_range("vision.feature_dim", self.vision.feature_dim, 1..=1_048_576)?;
        if let Some(found) = self.vision.encoder_sha256.as_ref().filter(|found| !is_sha256(found)) {
            return Err(wrong("vision.encoder_sha256", format_args!("{found:?}"), "64 lower-case hexadecimal digits"));
        }
        in_range("retrieval.dim", self.retrieval.dim, 1..=65_536)?;
        Ok(())
    }

    fn check_ret(&self) -> Result<(), ConfigError> {
        let template = &self.retrieval.text_template;
        if template.len() > TEMPLATE_BYTES_MAX || template.matches("{}").count() != 1 {
            return Err(wrong(
                "retrieval.text_template",
                format_args!("{template:?}"),
                "a sentence with {} in one place",
            ));
        }
        if let Some(scale) = self.retrieval.logit_scale {
            in_range("retrieval.logit_scale", scale, f32::MIN_POSITIVE..=1e6)?;
        }
        let ids = &self.retrieval.ret_token_ids;
        in_range("retrieval.ret_token_ids", ids.len(), 1..=64)
            .map_err(|_| wrong("retrieval.ret_token_ids", format_args!("a list of {}", ids.len()), "1 to 64 ids"))?;
        for (at, id) in ids.iter().enumerate() {
            in_range("retrieval.ret_token_ids", *id, 0..=self.language_model.vocab_size - 1)?;
            if ids[..at].contains(id) {
                return Err(wrong("retrieval.ret_token_ids", format_args!("{id} twice"), "different ids"));
            }
        }
        Ok(())
    }

    /// Width of a retrieval embedding.
    pub fn dim(&self) -> usize {
        self.retrieval.dim as usize
    }

    /// Width of an input embedding.
    pub fn hidden_size(&self) -> usize {
        self.language_model.hidden_size as usize
    }

    /// Values in a row of logits.
    pub fn vocab_size(&self) -> usize {
        self.language_model.vocab_size as usize
    }

    /// Whether `id` is a `[RET]` token.
    pub fn is_ret(&self, id: u32) -> bool {
        self.retrieval.ret_token_ids.contains(&id)
    }
}

impl Dialogue {
    fn check(&self) -> Result<(), ConfigError> {
        let [user, assistant] = [&self.user, &self.assistant];
        let parts = [&self.preamble, &user[0], &user[1], &assistant[0], &assistant[1]];
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        if bytes > TEMPLATE_BYTES_MAX {
            return Err(wrong(
                "dialogue",
                format_args!("{bytes} bytes long"),
                format_args!("at most {TEMPLATE_BYTES_MAX}"),
            ));
        }
        in_range("dialogue.image_context_weight", self.image_context_weight, 0.0..=100.0)?;
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    let fits = !name.is_empty() && name.len() <= 128 && !name.chars().any(char::is_control);
    if fits {
        Ok(())
    } else {
        Err(wrong("name", format_args!("{name:?}"), "1 to 128 bytes without control characters"))
    }
}

fn check_files(files: &BTreeMap<String, FileDigest>) -> Result<(), ConfigError> {
    if files.len() > FILES_MAX {
        return Err(wrong("files", format_args!("a list of {}", files.len()), format_args!("at most {FILES_MAX}")));
    }
    for (name, digest) in files {
        if !is_safe(name) {
            let expected = "a relative path of plain names, joined by /, other than the manifest's own";
            return Err(wrong("files", format_args!("{name:?}"), expected));
        }
        let field = format!("files.{name}.sha256");
        if !is_sha256(&digest.sha256) {
            return Err(wrong(&field, format_args!("{:?}", digest.sha256), "64 lower-case hexadecimal digits"));
        }
        in_range(&format!("files.{name}.bytes"), digest.bytes, 1..=FILE_BYTES_MAX)?;
    }
    match REQUIRED.iter().find(|name| !files.contains_key(**name)) {
        Some(absent) => Err(wrong("files", "a list without it", format_args!("{absent} to be listed"))),
        None => Ok(()),
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A name that stays within the directory, on every operating system.
fn is_safe(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && !part.contains(['\\', ':'])
            && !part.chars().any(char::is_control)
    };
    name.len() <= 255 && name != MANIFEST && name.split('/').all(plain)
}
