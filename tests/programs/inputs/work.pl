# work.pl - Hashes, regular expressions, interpreter threads, forks and deep copies in Perl.
use strict; use warnings; use threads; use Storable qw(dclone freeze thaw); use Digest::SHA qw(sha256_hex);

my $seed;
sub word { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; return sprintf("%x", $seed >> 8); }

sub churn {
    $seed = shift;
    my %table;
    for my $n (1 .. 40000) {
        my $w = word();
        push @{$table{substr($w, 0, 2)}}, $w x ($n % 6);
        delete $table{substr($w, 1, 2)} if $n % 11 == 0;
    }
    return sha256_hex(join ",", map { "$_=@{$table{$_}}" } sort keys %table);
}

print "churn ", churn(1), "\n";
$seed = 5;
my $text = join " ", map { word() } 1 .. 100000;
my $count = () = $text =~ /\b([0-9]+[a-f]+)\b/g;
(my $swapped = $text) =~ s/(\d)([a-f])/$2$1/g;
print "regex $count ", sha256_hex($swapped), "\n";
my $tree = { map { $_ => [ map { { n => $_, s => "x" x $_ } } 1 .. 50 ] } 1 .. 400 };
for (1 .. 5) { $tree = thaw(freeze(dclone($tree))); }
print "tree ", scalar(keys %$tree), " ", length($tree->{17}[40]{s}), "\n";
print "threads ", join(" ", map { $_->join } map { my $n = $_; threads->create(sub { churn($n) }) } 1 .. 4), "\n";
for my $n (1 .. 4) {
    my $pid = open(my $pipe, "-|") // die;
    if (!$pid) { print churn($n); exit 0; }
    print "fork ", <$pipe>, "\n";
    close $pipe or die;
}
my @sorted = sort { length($a) <=> length($b) || $a cmp $b } split / /, $text;
print "sort $sorted[0] $sorted[-1] ", sha256_hex("@sorted"), "\n";
