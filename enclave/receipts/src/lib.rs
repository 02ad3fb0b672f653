//! hanzo-receipts
