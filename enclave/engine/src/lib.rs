//! hanzo-engine
use mistralrs as _;
