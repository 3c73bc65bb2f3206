//! What a caller may ask of a reply; what is left unset is the bundle's default.

use fromagerie_models::GenerationConfig;

use super::decide::{RetControl, Sampling};
use super::reply::ReplyOptions;
use crate::error::{Error, Result};
use crate::query::Spread;

/// Options of one turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatOptions {
    /// Most tokens of the reply; at most 4096.
    pub tokens_max: Option<usize>,
    /// Added to the log-odds of `[RET]`: above 0, pictures come more easily.
    pub ret_bias: Option<f32>,
    /// Multiplies the logit of `[RET]`, for parity with the reference. Prefer `ret_bias`.
    pub ret_scale: Option<f32>,
    /// Most `[RET]` in the reply; unset: 1.
    pub rets_max: Option<usize>,
    /// Pictures for each `[RET]`; unset: 1.
    pub images_per_ret: Option<usize>,
    /// Fewest `[RET]` in the reply, put at its end where the model did not choose them; unset: 0.
    pub rets_min: Option<usize>,
    /// Show a picture even if the model would not: at least one `[RET]`.
    pub force_ret: bool,
    /// How pictures are kept apart, from each other and from those shown before.
    pub spread: Spread,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Go on after the end of a text or a newline, until `tokens_max`: for comparison with the reference.
    pub ignore_stops: bool,
    /// Run the whole context again for each token, as the reference does: for comparison.
    pub without_cache: bool,
}

impl ChatOptions {
    pub(crate) fn resolve(&self, generation: &GenerationConfig) -> Result<ReplyOptions> {
        let tokens_max = self.tokens_max.unwrap_or(generation.max_new_tokens as usize);
        let images_per_ret = self.images_per_ret.unwrap_or(1);
        let rets_max = self.rets_max.unwrap_or(1);
        let rets_min = self.rets_min.unwrap_or(0).max(usize::from(self.force_ret && rets_max > 0));
        let bias = self.ret_bias.unwrap_or(generation.ret_bias);
        let scale = self.ret_scale.unwrap_or(generation.ret_scale);
        let Sampling { temperature, top_p, repetition_penalty, .. } = self.sampling;
        check("max_tokens", tokens_max, (1..=4096).contains(&tokens_max), "1 to 4096")?;
        check("images_per_ret", images_per_ret, (1..=32).contains(&images_per_ret), "1 to 32")?;
        check("ret_max", rets_max, rets_max <= 4096, "0 to 4096")?;
        check("ret_min", rets_min, rets_min <= rets_max, "0 to ret_max")?;
        check("ret_bias", bias, (-1000.0..=1000.0).contains(&bias), "-1000 to 1000")?;
        check("ret_scale", scale, (0.0..=1000.0).contains(&scale), "0 to 1000")?;
        check("temperature", temperature, (0.0..=100.0).contains(&temperature), "0 to 100")?;
        check("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1")?;
        check("repetition_penalty", repetition_penalty, (0.1..=10.0).contains(&repetition_penalty), "0.1 to 10")?;
        self.spread.check()?;
        Ok(ReplyOptions {
            tokens_max,
            ret: RetControl { bias, scale },
            rets_max,
            images_per_ret,
            rets_min,
            stop_at_newline: generation.stop_at_newline && !self.ignore_stops,
            ignore_stops: self.ignore_stops,
            sampling: self.sampling,
            reuse_cache: !self.without_cache,
        })
    }
}

fn check(name: &'static str, value: impl ToString, fits: bool, allowed: &'static str) -> Result<()> {
    if fits { Ok(()) } else { Err(Error::OutOfRange { name, value: value.to_string(), allowed }) }
}
