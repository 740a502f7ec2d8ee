# What tunnels and relays lead to: swallows, sends or echoes bytes. Perl, since every Debian and Ubuntu image has it.
#
#   perl sink.pl ADDRESS PORT
#
# A request is one letter and a 64-bit little-endian count: U takes so many bytes and answers "k", D sends so many, E takes
# so many (few) and sends them back. Some processes accept on one socket, so that no connection has to wait for a fork.
use strict;
use warnings;
use Socket qw(:DEFAULT IPPROTO_TCP TCP_NODELAY);

my ($address, $port) = @ARGV;
my $piece = 1 << 18;
socket(my $listener, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
setsockopt($listener, SOL_SOCKET, SO_REUSEADDR, 1);
bind($listener, sockaddr_in($port, inet_aton($address))) or die "bind: $!";
listen($listener, 64) or die "listen: $!";
$SIG{PIPE} = 'IGNORE';

my @workers;
for (1 .. 4) {
    my $pid = fork // die "fork: $!";
    serve() unless $pid;
    push @workers, $pid;
}
$SIG{TERM} = sub { kill 'KILL', @workers };
1 while wait != -1;
exit;

sub take {    # so many bytes, or undef at the end
    my ($from, $count) = @_;
    my $all = '';
    while ($count > length $all) {
        my $got = sysread($from, $all, $count - length $all, length $all);
        return undef unless $got;
    }
    return $all;
}

sub give {
    my ($to, $data) = @_;
    my $sent = 0;
    while ($sent < length $data) {
        my $now = syswrite($to, $data, length($data) - $sent, $sent);
        return 0 unless $now;
        $sent += $now;
    }
    return 1;
}

sub swallow {
    my ($from, $count) = @_;
    my $piece_of_it;
    while ($count > 0) {
        my $got = sysread($from, $piece_of_it, $count < $piece ? $count : $piece);
        return 0 unless $got;
        $count -= $got;
    }
    return 1;
}

sub serve {
    $SIG{TERM} = 'DEFAULT';
    my $zeros = "\0" x $piece;
    while (accept(my $client, $listener)) {
        setsockopt($client, IPPROTO_TCP, TCP_NODELAY, 1);
        while (defined(my $request = take($client, 9))) {
            my ($what, $count) = unpack('aQ<', $request);
            if ($what eq 'U') {
                swallow($client, $count) && give($client, 'k') or last;
            } elsif ($what eq 'E') {
                my $data = take($client, $count);
                defined $data && give($client, $data) or last;
            } else {
                for (my $left = $count; $left > 0; $left -= $piece) {
                    give($client, $left < $piece ? substr($zeros, 0, $left) : $zeros) or last;
                }
            }
        }
        close $client;
    }
    exit;
}
