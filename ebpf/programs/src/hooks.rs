//! Where the programs are attached: one file a hook, each with the faults that act there in their stated order.

mod address;
mod empty;
mod packet_in;
mod packet_out;
mod packet_time;
mod security;
mod syscall;
