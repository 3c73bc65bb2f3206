//! `generation_config.json`: how the model likes to speak, and how readily it shows a picture.
//!
//! Names are Hugging Face's where there is one. `ret_bias`, `ret_scale` and `stop_at_newline` are ours.

use serde::{Deserialize, Serialize};

use super::fields::{ConfigError, in_range, wrong};

/// The contents of `generation_config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationConfig {
    /// Starts every prompt; absent for a model that knows none.
    #[serde(default)]
    pub bos_token_id: Option<u32>,
    /// Where it stands in a prompt.
    #[serde(default)]
    pub bos_position: BosPosition,
    /// Any of these ends a reply. In JSON one id or a list.
    #[serde(deserialize_with = "one_or_many")]
    pub eos_token_id: Vec<u32>,
    /// The most tokens of a reply.
    #[serde(default = "default_max_new_tokens")]
    pub max_new_tokens: u32,
    /// Added to the log-odds of `[RET]`: 0 leaves the model alone, more shows pictures more readily.
    #[serde(default)]
    pub ret_bias: f32,
    /// Multiplies the logit of `[RET]`, as the reference does; 1 leaves the model alone.
    #[serde(default = "one")]
    pub ret_scale: f32,
    /// Whether a newline ends a reply, as in the reference.
    #[serde(default)]
    pub stop_at_newline: bool,
    /// Tokens that are never generated.
    #[serde(default)]
    pub suppress_tokens: Vec<u32>,
    /// Written by exporters; not used.
    #[serde(default, skip_serializing)]
    pub pad_token_id: Option<u32>,
    /// Written by exporters; not used.
    #[serde(default, skip_serializing)]
    pub transformers_version: Option<String>,
    /// Written by exporters; not used.
    #[serde(default, rename = "_from_model_config", skip_serializing)]
    pub from_model_config: Option<bool>,
}

/// Where the beginning-of-text token stands in a prompt. A conversation begins with it in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BosPosition {
    /// Before everything.
    #[default]
    Prompt,
    /// Before the first words, after pictures that come before them, as in FROMAGe; a prompt without words has none.
    FirstText,
}

impl GenerationConfig {
    /// Parses and checks the JSON; every id must lie in a vocabulary of `vocab_size`.
    ///
    /// # Errors
    /// [`ConfigError`], naming the field.
    pub fn parse(json: &[u8], vocab_size: u32) -> Result<Self, ConfigError> {
        let config: Self = serde_json::from_slice(json)?;
        let last = vocab_size.saturating_sub(1);
        for (field, ids) in [
            ("bos_token_id", config.bos_token_id.as_slice()),
            ("eos_token_id", &config.eos_token_id),
            ("suppress_tokens", &config.suppress_tokens),
        ] {
            ids.iter().try_for_each(|id| in_range(field, *id, 0..=last).map(drop))?;
        }
        if config.eos_token_id.is_empty() || config.eos_token_id.len() > 64 {
            return Err(wrong("eos_token_id", format_args!("a list of {}", config.eos_token_id.len()), "1 to 64 ids"));
        }
        in_range("max_new_tokens", config.max_new_tokens, 1..=65_536)?;
        in_range("ret_bias", config.ret_bias, -1000.0..=1000.0)?;
        in_range("ret_scale", config.ret_scale, 0.0..=1000.0)?;
        Ok(config)
    }

    /// Whether `id` ends a reply.
    pub fn is_eos(&self, id: u32) -> bool {
        self.eos_token_id.contains(&id)
    }
}

fn default_max_new_tokens() -> u32 {
    32
}

fn one() -> f32 {
    1.0
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a token id or a list of token ids")]
    enum Ids {
        One(u32),
        Many(Vec<u32>),
    }
    Ok(match Ids::deserialize(deserializer)? {
        Ids::One(id) => vec![id],
        Ids::Many(ids) => ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_or_a_list_and_defaults() {
        let config = GenerationConfig::parse(br#"{"eos_token_id": 3}"#, 10).unwrap();
        assert_eq!((config.eos_token_id.as_slice(), config.bos_token_id), (&[3][..], None));
        assert_eq!((config.max_new_tokens, config.ret_bias, config.ret_scale), (32, 0.0, 1.0));
        let listed = GenerationConfig::parse(br#"{"eos_token_id": [3, 4], "bos_token_id": null}"#, 10).unwrap();
        assert!(listed.is_eos(4) && !listed.is_eos(5));
    }

    #[test]
    fn every_field_is_checked() {
        for (json, says) in [
            (r#"{}"#, "eos_token_id"),
            (r#"{"eos_token_id": 10}"#, "`eos_token_id` is 10; expected 0 to 9"),
            (r#"{"eos_token_id": []}"#, "`eos_token_id` is a list of 0"),
            (r#"{"eos_token_id": 1, "bos_token_id": 11}"#, "`bos_token_id` is 11"),
            (r#"{"eos_token_id": 1, "suppress_tokens": [99]}"#, "`suppress_tokens` is 99"),
            (r#"{"eos_token_id": 1, "max_new_tokens": 0}"#, "`max_new_tokens` is 0; expected 1 to 65536"),
            (r#"{"eos_token_id": 1, "ret_bias": 1e30}"#, "`ret_bias`"),
            (r#"{"eos_token_id": 1, "ret_scale": -1}"#, "`ret_scale` is -1; expected 0 to 1000"),
            (r#"{"eos_token_id": 1, "ret_bais": 1}"#, "unknown field `ret_bais`"),
            (r#"{"eos_token_id": "x"}"#, "a token id or a list of token ids"),
        ] {
            let error = GenerationConfig::parse(json.as_bytes(), 10).unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
        }
    }
}
