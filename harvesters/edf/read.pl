#!/usr/bin/perl
# Reads what the headers of an ESRF data file (EDF) say: text in braces, each followed by the bytes of one image.
# It needs nothing but Perl itself, of Debian's package perl-base, and prints a JSON value a line.
use strict;
use warnings;

my $LONGEST_HEADER = 256 * 1024;
my $MOST_IMAGES    = 100_000;
my $MOST_VALUES    = 300;
my $TRY_AGAIN      = 75;    # EX_TEMPFAIL: the storage is the trouble

my %BYTES = (
    signedbyte => 1, unsignedbyte => 1, signedshort => 2, unsignedshort => 2, signedinteger => 4, unsignedinteger => 4,
    signedlong => 4, unsignedlong => 4, signed64 => 8, unsigned64 => 8, floatvalue => 4, float => 4, real => 4,
    doublevalue => 8, double => 8,
);
my %NAMES = (dim_1 => 'width', dim_2 => 'height', dim_3 => 'depth', datatype => 'data_type', date => 'start_time');
my %UNITS = (count_time => 's', exposuretime => 's');
my %SILENT = map { $_ => 1 } qw(headerid image size byteorder versionnumber motor_mne motor_pos counter_mne counter_pos);

sub text {    # bytes of UTF-8, or of Latin-1 where they are no UTF-8, as a JSON text
    my ($bytes) = @_;
    my $text = $bytes;
    utf8::decode($text) or $text = $bytes;
    $text = substr $text, 0, 4000;
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/([\x00-\x1f\x7f\x{d800}-\x{dfff}])/ /g;
    utf8::encode($text);
    return "\"$text\"";
}

sub value {    # a number where it is one that JSON and the next reader can hold
    my ($text) = @_;
    if ($text =~ /^[-+]?\d+\z/) { return length($text) < 16 ? 0 + $text : text($text) }
    if ($text =~ /^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\z/) {
        my $number = 0 + $text;
        return $number if $number =~ /^-?\d+(?:\.\d+)?(?:e[-+]?\d+)?\z/;
    }
    return text($text);
}

sub say_value {
    my ($name, $value, $units) = @_;
    return if $value eq '' || $name eq '';
    my $said = '{"name": ' . text(substr $name, 0, 200) . ', "value": ' . value($value);
    $said .= ', "units": ' . text($units) if $units;
    print "$said}\n";
}

sub say_problem { print '{"problem": ' . text($_[0]) . "}\n" }

sub trouble { print STDERR "$_[0]: $!\n"; exit $TRY_AGAIN }

sub read_header {    # returns its keys in their order with their values, and whether its end was found
    my ($file) = @_;
    my $header = '';
    while ($header !~ /\}/ && length $header < $LONGEST_HEADER) {
        my $read = read $file, $header, 512, length $header;
        trouble('it cannot be read') unless defined $read;
        last if $read == 0;
    }
    return (undef, 0) unless $header =~ /^\s*\{/;
    my $ended = $header =~ s/\}.*//s;
    $header =~ s/^\s*\{//;
    my @pairs = map { /^\s*([^=]{1,200}?)\s*=\s*(.*?)\s*\z/s ? [$1, $2] : () } split /;\s*(?:\n|\z)/, $header;
    return (\@pairs, $ended);
}

sub image_bytes {    # how many bytes the image of this header has; undef where nobody says so
    my (%of) = @_;
    for my $key ('edf_binarysize', 'size') { return $of{$key} if ($of{$key} // '') =~ /^\d{1,15}\z/ }
    return undef unless my $bytes = $BYTES{lc($of{datatype} // '')};
    for my $key (grep { /^dim_\d\z/ } keys %of) {
        return undef unless $of{$key} =~ /^\d{1,9}\z/;
        $bytes *= $of{$key};
    }
    return $bytes;
}

sub say_header {
    my ($pairs, $of) = @_;
    my $said = 0;
    for my $pair (@$pairs) {
        my ($name, $key) = ($pair->[0], lc $pair->[0]);
        next if $SILENT{$key} || $key =~ /^edf_/;
        if ($said++ == $MOST_VALUES) { say_problem("of its header only the first $MOST_VALUES values are told"); last }
        say_value($NAMES{$key} // $name, $pair->[1], $UNITS{$key});
    }
    for my $kind ('motor', 'counter') {
        my @names = split ' ', $of->{"${kind}_mne"} // '';
        my @values = split ' ', $of->{"${kind}_pos"} // '';
        if (@names != @values) {
            say_problem('of ' . @names . " ${kind}s it has " . @values . ' values, so it is not known which is which');
            next;
        }
        for my $at (0 .. ($#names > 99 ? 99 : $#names)) { say_value("$kind/$names[$at]", $values[$at]) }
    }
}

$| = 1;
my $path = shift @ARGV // die "usage: read.pl FILE\n";
open my $file, '<:raw', $path or trouble('it cannot be opened');
my $size = -s $file;
my ($images, $at) = (0, 0);
while ($at < $size && $images < $MOST_IMAGES) {
    my ($pairs, $ended) = read_header($file);
    if (!$pairs) {
        my $where = $images ? "behind image $images" : 'at its beginning';
        say_problem("it is no ESRF data file: $where is no header in braces");
        last;
    }
    my %of = map { lc $_->[0] => $_->[1] } @$pairs;
    say_header($pairs, \%of) if !$images;
    if (!$ended) { say_problem('the header of image ' . ($images + 1) . ' has no end: it was cut off, or is broken'); last }
    my $begin = tell $file;    # headers are filled up to whole blocks of 512 bytes
    my $bytes = image_bytes(%of);
    if (!defined $bytes) { say_problem('the header of image ' . ($images + 1) . ' does not say how large it is'); last }
    $at = $begin + $bytes;
    if ($at > $size) {
        say_problem('image ' . ($images + 1) . ' has ' . ($size - $begin) . " of $bytes bytes: it was cut off");
        last;
    }
    $images++;
    seek $file, $at, 0 or trouble('it cannot be read');
}
say_problem('it is empty') unless $size;
say_problem("only the first $MOST_IMAGES images were counted") if $images == $MOST_IMAGES && $at < $size;
say_value('images', $images) if $images;
