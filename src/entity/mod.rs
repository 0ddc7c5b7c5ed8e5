//! One SeaORM entity per table, without logic. The modules that own the rows define their meaning.

pub mod access;
pub mod account;
pub mod api_key;
pub mod confidence;
pub mod content;
pub mod document;
pub mod enums;
pub mod identity;
pub mod job;
pub mod job_event;
pub mod job_type;
pub mod oidc_identity;
pub mod review;
pub mod review_items;
pub mod sign_in_network;
pub mod task;
pub mod taxonomy;
pub mod team;
pub mod team_member;
pub mod webhook;
pub mod webhook_delivery;
