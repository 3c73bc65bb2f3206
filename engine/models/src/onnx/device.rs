//! Where graphs run: on the CPU, or on a GPU when one is asked for by name.

use std::fmt;
use std::str::FromStr;

/// Where graphs run. Written `cpu`, `cuda` (the first GPU) or `cuda:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The CPU.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this number. Needs the cargo feature `cuda` and a GPU build of ONNX Runtime.
    Cuda(u32),
}

/// A device that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{given}\" is not a device; write cpu, cuda, or cuda:N with N up to 255")]
pub struct ParseDeviceError {
    /// What was written.
    pub given: String,
}

impl FromStr for Device {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, ParseDeviceError> {
        match text {
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(gpu).map(Self::Cuda),
        }
        .ok_or_else(|| ParseDeviceError { given: text.into() })
    }
}

fn gpu(number: &str) -> Option<u32> {
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u8>().ok().filter(|_| plain).map(u32::from)
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        for (text, device) in [("cpu", Device::Cpu), ("cuda", Device::Cuda(0)), ("cuda:1", Device::Cuda(1))] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        for bad in ["", "CPU", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:256", "cuda:1 "] {
            assert_eq!(bad.parse::<Device>(), Err(ParseDeviceError { given: bad.into() }));
        }
    }
}
