<?php
// work.php - Arrays, strings, regular expressions, and the extensions mbstring, dom, intl and opcache.
mt_srand(7);
foreach (['mbstring', 'dom', 'xml', 'intl', 'Zend OPcache'] as $extension) {
    echo "extension $extension ", extension_loaded($extension) ? 'loaded' : 'MISSING', "\n";
}
$table = [];
for ($i = 0; $i < 400000; $i++) {
    $key = dechex(mt_rand(0, 30000));
    $table[$key] = ['i' => $i, 's' => str_repeat($key, $i % 9)];
    if ($i % 3 == 0) unset($table[dechex(mt_rand(0, 30000))]);
}
ksort($table, SORT_STRING);
echo 'table ', count($table), ' ', hash('sha256', serialize($table)), "\n";
echo 'unserialize ', count(unserialize(serialize($table))), ' json ', strlen(json_encode(json_decode(json_encode($table), true))), "\n";
$text = implode(' ', array_keys($table));
echo 'regex ', preg_match_all('/\b\d+[a-f]+\b/', $text), ' ', md5(preg_replace_callback('/[a-f]\d/', fn($m) => strrev($m[0]), $text)), "\n";

$wide = str_repeat('Grüße, Привет, 你好, ', 3000);
echo 'mbstring ', mb_strlen($wide), ' ', md5(mb_strtoupper($wide)), ' ', md5(mb_convert_encoding($wide, 'UTF-16LE', 'UTF-8')), "\n";

$document = new DOMDocument();
$root = $document->appendChild($document->createElement('root'));
for ($i = 0; $i < 5000; $i++) {
    $item = $root->appendChild($document->createElement('item', "text $i"));
    $item->setAttribute('id', (string)($i * 7 % 5000));
}
$again = new DOMDocument();
$again->loadXML($document->saveXML());
echo 'dom ', (new DOMXPath($again))->query('//item[@id mod 3 = 0]')->length, ' ', md5($again->saveXML()), "\n";
$parser = xml_parser_create();
xml_parse_into_struct($parser, $document->saveXML(), $values);
echo 'xml ', count($values), "\n";

$names = ['Zoë', 'Ångström', 'Ole', 'Özil', 'Ärger', 'zebra', 'Émile', 'eve'];
(new Collator('de_DE'))->sort($names);
echo 'intl ', implode(' ', $names), ' ', (new NumberFormatter('de_DE', NumberFormatter::CURRENCY))->formatCurrency(1234567.891, 'EUR'), ' ',
     (new NumberFormatter('en', NumberFormatter::SPELLOUT))->format(98765), ' ', Normalizer::normalize("e\u{301}", Normalizer::FORM_C), "\n";
