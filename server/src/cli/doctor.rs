//! `fromagerie doctor`.

use std::path::PathBuf;

use clap::Args;
use fromagerie::{BUNDLE_VARIABLE, Runtime, RuntimeOptions, load_bundle};
use serde_json::{Value, json};

use super::{ModelArgs, Outcome, Output};

/// Say what runs here: ONNX Runtime, device, instruction set, bundle.
#[derive(Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    model: ModelArgs,
}

impl Doctor {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let mut is_well = true;
        let choice = fromagerie::kernel_choice();
        let instruction_set = choice.kernel.instruction_set().to_string();
        report(
            output,
            "instruction set",
            &choice.to_string(),
            json!({"instruction_set": instruction_set, "notes": choice.notes}),
        )?;
        let options = self.model.options(false);
        let runtime = Runtime::load(RuntimeOptions {
            library: options.onnxruntime.clone(),
            device: options.device,
            intra_threads: options.threads,
            batch: options.batch,
        });
        match runtime {
            Ok(runtime) => {
                let library = runtime.library_path().display().to_string();
                let text = format!("{} at {library}, on {}", runtime.version(), runtime.device());
                report(
                    output,
                    "ONNX Runtime",
                    &text,
                    json!({
                        "onnxruntime": runtime.version(), "library": library, "device": runtime.device().to_string(),
                    }),
                )?;
            }
            Err(error) => {
                is_well = false;
                report(
                    output,
                    "ONNX Runtime",
                    &error.to_string(),
                    json!({"onnxruntime": Value::Null, "problem": error.to_string()}),
                )?;
            }
        }
        let bundle = options.bundle.clone().or_else(|| std::env::var_os(BUNDLE_VARIABLE).map(PathBuf::from));
        match bundle {
            None => report(output, "bundle", "none named: use --bundle DIR", json!({"bundle": Value::Null}))?,
            Some(directory) => match load_bundle(&directory, &options) {
                Ok(loaded) => {
                    let manifest = loaded.model.manifest();
                    let space = hex::encode(loaded.model.fingerprint());
                    let text = format!(
                        "{} ({}), {} dimensions, space {}",
                        manifest.name,
                        manifest.architecture,
                        manifest.dim(),
                        &space[..12]
                    );
                    report(
                        output,
                        "bundle",
                        &text,
                        json!({
                            "bundle": directory, "name": manifest.name, "architecture": manifest.architecture,
                            "dim": manifest.dim(), "space": space,
                        }),
                    )?;
                }
                Err(error) => {
                    is_well = false;
                    report(
                        output,
                        "bundle",
                        &error.to_string(),
                        json!({"bundle": directory, "problem": error.to_string()}),
                    )?;
                }
            },
        }
        output.line(
            if is_well { "all is well" } else { "something is missing" },
            &json!({"event": "summary", "well": is_well}),
        )?;
        Ok(if is_well { Outcome::Done } else { Outcome::Bad })
    }
}

fn report(output: &Output, what: &str, text: &str, value: Value) -> std::io::Result<()> {
    output.line(&format!("{what:<16}{text}"), &value)
}
